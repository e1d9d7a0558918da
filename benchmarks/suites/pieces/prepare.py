"""Stage A: sharers' adapters, gates, pool; newcomers' own adapters; what leaks. In resumable parts.

A part stops in time between pieces of work, a kill costs at most the half minute since a
checkpoint; the same command goes on. What is done is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.history.history import History
from idiolect.pieces.assembly.by_gates import assemble
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import Recipe, materialise
from idiolect.pieces.recipes.shard import RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from kit.time_budget import Clock, pieces
from suites.pieces import by_likelihood
from suites.pieces.people import means
from suites.pieces.pools import POOL, some_of
from suites.pieces.settings import ASSEMBLE, GATES, TRAIN
from suites.pieces.workspace import Place, with_epochs


def prepare(place: Place, clock: Clock) -> None:
    """All parts of a task in order. Raises TimeIsUpError."""
    sharers(place, clock)
    gates(place, clock)
    own(place, clock)
    from_likely(place, clock)
    from_pieces(place, clock)
    if place.people.setting.leaks:
        leaking(place, clock)
    means(place.people, place.folder)


def estimate(place: Place) -> str:
    """What preparing all of a task takes on two cores, in minutes by part."""
    sizes, each = place.sizes, place.people.setting.train_seconds
    shared = sum(len(h.items) for h in place.people.sharers.values())
    lengths = sum(sizes.lengths) * sizes.newcomers
    whole = sizes.most * sizes.newcomers
    leak = sizes.leaking * sizes.history
    parts = {
        "adapters": TRAIN.epochs * shared * each,
        "gates": GATES.steps * GATES.batch * len(place.people.sharers) * each,
        "newcomers' own": (TRAIN.epochs * lengths + whole) * each,
        "from pieces": (lengths + TRAIN.epochs * whole) * each
        + lengths * place.people.setting.assemble_seconds,
        "leakage": leak * (sum(sizes.leak_epochs) + 2 * TRAIN.epochs) * each,
    }
    told = ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in parts.items())
    return (
        f"{place.name}: {len(place.people.sharers)} sharers, {sizes.newcomers} newcomers; about "
        f"{sum(parts.values()) / 60:.0f} minutes on 2 cores in all ({told}), less what is done"
    )


def sharers(place: Place, clock: Clock) -> None:
    """Adapters of everyone who shares in any strategy."""
    jobs = [place.job(h) for h in place.people.sharers.values()]
    place.train("adapters", jobs, place.lora, TRAIN, clock)


def gates(place: Place, clock: Clock) -> Pool:
    """Everyone's gates, and the pool of all of them."""
    everyone = list(place.people.sharers)
    return place.pool(place.made / POOL, place.gates("gates", everyone, GATES, clock))


def own(place: Place, clock: Clock) -> None:
    """Newcomers' own adapters (OPPU) at every length of history; of the whole with fewer epochs."""
    for length in place.sizes.lengths:
        jobs = [place.job(h, last=length) for h in place.people.newcomers]
        place.train(own_store(length), jobs, place.lora, TRAIN, clock)
    jobs = [place.job(h) for h in place.people.newcomers]
    place.train(own_store(place.sizes.most, 1), jobs, place.lora, with_epochs(TRAIN, 1), clock)


def from_pieces(place: Place, clock: Clock) -> None:
    """Newcomers' adapters that started from assembled ones: one epoch, of the whole two as well."""
    for length in started(place):
        starts = assembled(place, length, clock)
        jobs = [place.job(h, last=length, start=starts[h.person]) for h in place.people.newcomers]
        kind = jobs[0].start
        assert kind is not None
        for epochs in (1, TRAIN.epochs) if length == place.sizes.most else (1,):
            store = pieces_store(length, epochs)
            place.train(store, jobs, require_lora(kind).config, with_epochs(TRAIN, epochs), clock)


def started(place: Place) -> tuple[int, ...]:
    """Lengths of history with which training starts from pieces."""
    most = place.people.setting.started
    return tuple(length for length in place.sizes.lengths if length <= most)


def from_likely(place: Place, clock: Clock) -> None:
    """Newcomers' adapters that started from those assembled by likelihood, one epoch."""
    for length in by_likelihood.lengths(place):
        starts = by_likelihood.assembled(place, length, clock=clock)
        jobs = [place.job(h, last=length, start=starts[h.person]) for h in place.people.newcomers]
        kind = jobs[0].start
        assert kind is not None
        place.train(
            likely_store(length), jobs, require_lora(kind).config, with_epochs(TRAIN, 1), clock
        )


def recipes(place: Place, length: int, clock: Clock | None = None) -> dict[str, Recipe]:
    """Newcomers' recipes from the strategy ``cluster``'s pieces by their last items, no training.

    Raises TimeIsUpError.
    """
    pool = some_of(place)
    store = RecipeStore.create(place.made / f"recipes-{length}", pool, settings={"length": length})
    waiting = [h for h in place.people.newcomers if h.person not in store.people]
    for group in pieces(clock, waiting, place.sizes.group):
        by_person = {h.person: place.examples(h.last(length)) for h in group}
        found = assemble(place.base, pool, by_person, ASSEMBLE)
        with store.writing():
            store.add([(RecipeRecord(person=r.person, made_by=""), r) for r in found])
    kept = {h.person: store.recipe(h.person) for h in place.people.newcomers}
    return {person: recipe for person, recipe in kept.items() if recipe is not None}


def assembled(place: Place, length: int, clock: Clock | None = None) -> dict[str, LoraAdapter]:
    """The adapters of these recipes."""
    pool = some_of(place)
    return {p: materialise(r, pool) for p, r in recipes(place, length, clock).items()}


def leaking(place: Place, clock: Clock) -> None:
    """Some sharers' adapters with dropout, and with fewer and more epochs."""
    people = leakers(place)
    for name, epochs, dropout in leak_stores(place):
        lora = replace(place.lora, dropout=dropout)
        jobs = [place.job(h) for h in people]
        place.train(name, jobs, lora, with_epochs(TRAIN, epochs), clock)


def leakers(place: Place) -> list[History]:
    """Whose leakage is measured: the first of the strategy ``cluster``'s sharers."""
    chosen = place.people.chosen["cluster"][: place.sizes.leaking]
    return [place.people.sharers[person] for person in chosen]


def leak_stores(place: Place) -> Iterator[tuple[str, int, float]]:
    """Stores of what is trained otherwise: name, epochs, dropout."""
    for epochs in place.sizes.leak_epochs:
        yield f"leak-{epochs}-epochs", epochs, 0.0
    yield "leak-dropout", TRAIN.epochs, place.sizes.leak_dropout


def own_store(length: int, epochs: int = TRAIN.epochs) -> str:
    """The store of newcomers' own adapters."""
    return f"own-{length}-{epochs}"


def likely_store(length: int) -> str:
    """The store of newcomers' adapters that started from those by likelihood."""
    return f"from-likely-{length}-1"


def pieces_store(length: int, epochs: int = 1) -> str:
    """The store of newcomers' adapters that started from pieces."""
    return f"from-pieces-{length}-{epochs}"
