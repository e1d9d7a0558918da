"""Stage A: trains sharers' adapters and gates, target users' own adapters, and audit variants.

The work is divided into groups; a run stops between groups when its time is used up, and the same
command resumes it. A killed process loses at most the half minute since its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.history.history import History
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import Recipe, build_adapter
from idiolect.pieces.recipes.shard import RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from kit.time_budget import TimeBudget, iter_groups
from suites.pieces import by_likelihood
from suites.pieces.people import compute_mean_vectors
from suites.pieces.pools import POOL_FOLDER, open_pool_subset
from suites.pieces.settings import ASSEMBLE, GATES, TRAIN
from suites.pieces.workspace import Workspace, set_epochs


def prepare_task(place: Workspace, clock: TimeBudget) -> None:
    """Run all parts of a task in order; raises TimeIsUpError if the time is used up."""
    train_sharers(place, clock)
    train_sharer_gates(place, clock)
    train_own_adapters(place, clock)
    train_from_likelihood(place, clock)
    train_from_pieces(place, clock)
    if place.people.setting.leaks:
        train_leak_variants(place, clock)
    compute_mean_vectors(place.people, place.folder)


def estimate_minutes(place: Workspace) -> str:
    """Return a sentence that estimates the minutes of preparing a task on two cores, by part."""
    # Training time is proportional to the number of items.
    sizes, each = place.sizes, place.people.setting.train_seconds
    shared = sum(len(h.items) for h in place.people.sharers.values())
    lengths = sum(sizes.lengths) * sizes.target_users
    whole = sizes.longest_history * sizes.target_users
    leak = sizes.leaking * sizes.history
    parts = {
        "adapters": TRAIN.epochs * shared * each,
        "gates": GATES.steps * GATES.batch * len(place.people.sharers) * each,
        "own adapters": (TRAIN.epochs * lengths + whole) * each,
        "from pieces": (lengths + TRAIN.epochs * whole) * each
        + lengths * place.people.setting.assemble_seconds,
        "leakage": leak * (sum(sizes.leak_epochs) + 2 * TRAIN.epochs) * each,
    }
    minutes = ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in parts.items())
    return (
        f"{place.name}: {len(place.people.sharers)} sharers, {sizes.target_users} target users; "
        f"about {sum(parts.values()) / 60:.0f} minutes on 2 cores in all ({minutes}), "
        "minus what is already done"
    )


def train_sharers(place: Workspace, clock: TimeBudget) -> None:
    """Train the adapters of all sharers of any strategy."""
    jobs = [place.make_job(h) for h in place.people.sharers.values()]
    place.train_adapters("adapters", jobs, place.lora, TRAIN, clock)


def train_sharer_gates(place: Workspace, clock: TimeBudget) -> Pool:
    """Train all sharers' gates and build the pool of all sharers."""
    sharers = list(place.people.sharers)
    return place.build_pool(
        place.artifact_folder / POOL_FOLDER,
        place.train_sharer_gates("gates", sharers, GATES, clock),
    )


def train_own_adapters(place: Workspace, clock: TimeBudget) -> None:
    """Train own adapters (OPPU) at each length of history; the longest also for one epoch."""
    for length in place.sizes.lengths:
        jobs = [place.make_job(h, last=length) for h in place.people.target_users]
        place.train_adapters(format_own_store(length), jobs, place.lora, TRAIN, clock)
    jobs = [place.make_job(h) for h in place.people.target_users]
    place.train_adapters(
        format_own_store(place.sizes.longest_history, 1),
        jobs,
        place.lora,
        set_epochs(TRAIN, 1),
        clock,
    )


def train_from_pieces(place: Workspace, clock: TimeBudget) -> None:
    """Train adapters from assembled ones: for one epoch, the longest history for all epochs too."""
    for length in select_start_lengths(place):
        starts = assemble_adapters(place, length, clock)
        jobs = [
            place.make_job(h, last=length, start=starts[h.person])
            for h in place.people.target_users
        ]
        kind = jobs[0].initial_adapter
        assert kind is not None
        for epochs in (1, TRAIN.epochs) if length == place.sizes.longest_history else (1,):
            store = format_pieces_store(length, epochs)
            place.train_adapters(
                store, jobs, require_lora(kind).config, set_epochs(TRAIN, epochs), clock
            )


def select_start_lengths(place: Workspace) -> tuple[int, ...]:
    """Return the lengths of history for training that starts from pieces."""
    most = place.people.setting.started
    return tuple(length for length in place.sizes.lengths if length <= most)


def train_from_likelihood(place: Workspace, clock: TimeBudget) -> None:
    """Train adapters that start from those assembled by likelihood, for one epoch."""
    for length in by_likelihood.select_lengths(place):
        starts = by_likelihood.assemble_adapters(place, length, clock=clock)
        jobs = [
            place.make_job(h, last=length, start=starts[h.person])
            for h in place.people.target_users
        ]
        kind = jobs[0].initial_adapter
        assert kind is not None
        place.train_adapters(
            format_likelihood_store(length),
            jobs,
            require_lora(kind).config,
            set_epochs(TRAIN, 1),
            clock,
        )


def build_recipes(
    place: Workspace, length: int, clock: TimeBudget | None = None
) -> dict[str, Recipe]:
    """Return target users' recipes from their last items, with pieces of the ``cluster`` sharers.

    Recipes that the work folder lacks are assembled and stored. Raises TimeIsUpError.
    """
    # The store holds the recipes of one length; those in it are not assembled again.
    pool = open_pool_subset(place)
    store = RecipeStore.create(
        place.artifact_folder / f"recipes-{length}", pool, settings={"length": length}
    )
    waiting = [h for h in place.people.target_users if h.person not in store.people]
    for group in iter_groups(clock, waiting, place.sizes.group):
        by_person = {h.person: place.build_examples(h.take_last(length)) for h in group}
        found = assemble_recipes(place.base, pool, by_person, ASSEMBLE)
        with store.lock_for_writing():
            store.add_recipes([(RecipeRecord(person=r.person, made_by=""), r) for r in found])
    kept = {h.person: store.load_recipe(h.person) for h in place.people.target_users}
    return {person: recipe for person, recipe in kept.items() if recipe is not None}


def assemble_adapters(
    place: Workspace, length: int, clock: TimeBudget | None = None
) -> dict[str, LoraAdapter]:
    """Return the adapters of these recipes."""
    pool = open_pool_subset(place)
    return {p: build_adapter(r, pool) for p, r in build_recipes(place, length, clock).items()}


def train_leak_variants(place: Workspace, clock: TimeBudget) -> None:
    """Train some sharers' adapters with dropout, and with fewer and more epochs."""
    people = select_leak_people(place)
    for name, epochs, dropout in iter_leak_stores(place):
        lora = replace(place.lora, dropout=dropout)
        jobs = [place.make_job(h) for h in people]
        place.train_adapters(name, jobs, lora, set_epochs(TRAIN, epochs), clock)


def select_leak_people(place: Workspace) -> list[History]:
    """Return the sharers that the audit attacks: the first ones of the strategy ``cluster``."""
    chosen = place.people.chosen["cluster"][: place.sizes.leaking]
    return [place.people.sharers[person] for person in chosen]


def iter_leak_stores(place: Workspace) -> Iterator[tuple[str, int, float]]:
    """Yield store name, epochs and dropout of each variant for the audit."""
    for epochs in place.sizes.leak_epochs:
        yield f"leak-{epochs}-epochs", epochs, 0.0
    yield "leak-dropout", TRAIN.epochs, place.sizes.leak_dropout


def format_own_store(length: int, epochs: int = TRAIN.epochs) -> str:
    """Return the name of the store of own adapters."""
    return f"own-{length}-{epochs}"


def format_likelihood_store(length: int) -> str:
    """Return the name of the store of adapters that started from those by likelihood."""
    return f"from-likely-{length}-1"


def format_pieces_store(length: int, epochs: int = 1) -> str:
    """Return the name of the store of adapters that started from pieces."""
    return f"from-pieces-{length}-{epochs}"
