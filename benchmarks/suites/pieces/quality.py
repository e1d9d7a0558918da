"""Every way of answering on the same newcomers and queries, scored person by person.

Finished ones are kept in the task's folder under what they follow from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from idiolect.adapters.lora import LoraAdapter
from idiolect.pieces.assembly.by_gates import assemble
from idiolect.pieces.assembly.by_similarity import nearest, whole_adapters
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import materialise
from idiolect.storage.files import read_json, write_json
from suites.pieces import by_likelihood
from suites.pieces.people import means
from suites.pieces.pools import some_of
from suites.pieces.prepare import assembled, likely_store, own_store, pieces_store, started
from suites.pieces.scoring import Scorer, Scores
from suites.pieces.settings import ASSEMBLE, BY_LIKELIHOOD, TRAIN
from suites.pieces.tune_gates import choices
from suites.pieces.workspace import Place

Adapters = Mapping[str, LoraAdapter]
BASE, NEAREST, AVERAGE, PIECES, LIKELY, OWN, FROM_PIECES, FROM_LIKELY = (
    "base",
    "nearest adapter",
    "average adapter",
    "pieces",
    "likely",
    "own",
    "from pieces",
    "from likely",
)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One setting of the sharers and of assembling, tried with few items of a newcomer."""

    strategy: str = "cluster"
    sharers: int = 0
    ratio: float = 1.0
    assemble: AssembleConfig = ASSEMBLE


class Quality:
    """Scores by name; ``own 20`` is with the last 20 items, ``own 50, 1 epoch`` says itself."""

    def __init__(self, place: Place) -> None:
        self.place, self.sizes = place, place.sizes
        self.path = place.made / "scores.json"
        self.scores: dict[str, Scores] = {}
        self._scorer: Scorer | None = None
        if self.path.is_file():
            self.scores = {
                name: Scores(nats=tuple(s["nats"]), mae=tuple(s["mae"]))
                for name, s in read_json(self.path).items()
            }

    @property
    def scorer(self) -> Scorer:
        """The newcomers' queries, ready."""
        if self._scorer is None:
            asked = {h.person: self.place.asked(h) for h in self.place.people.newcomers}
            options = choices(self.place)
            self._scorer = Scorer(self.place.base, self.place.lora, asked, choices=options)
        return self._scorer

    def all(self) -> dict[str, Scores]:
        """Everything, measured where it is not yet."""
        for name, make in (*self._methods(), *self._recent(), *self._tried()):
            if name not in self.scores:
                began = time.perf_counter()
                self.scores[name] = self.scorer.score(make())
                write_json(self.path, {name: asdict(one) for name, one in self.scores.items()})
                self.place.note("quality", time.perf_counter() - began, folder=self.place.made)
        return self.scores

    def _methods(self) -> Iterator[tuple[str, Callable[[], Adapters]]]:
        """The ways that are compared, and those with personal training by length of history."""
        most = self.sizes.most
        yield BASE, dict
        yield NEAREST, lambda: self._whole(1)
        yield AVERAGE, lambda: self._whole(ASSEMBLE.top_k)
        for length in self.sizes.lengths:
            yield f"{PIECES} {length}", lambda n=length: assembled(self.place, n)
            yield f"{OWN} {length}", lambda n=length: self._stored(own_store(n))
            if length in started(self.place):
                yield f"{FROM_PIECES} {length}", lambda n=length: self._stored(pieces_store(n))
        for length in by_likelihood.lengths(self.place):
            yield f"{LIKELY} {length}", lambda n=length: by_likelihood.assembled(self.place, n)
            yield f"{FROM_LIKELY} {length}", lambda n=length: self._stored(likely_store(n))
        yield f"{OWN} {most}, 1 epoch", lambda: self._stored(own_store(most, 1))
        if most in started(self.place):
            name = f"{FROM_PIECES} {most}, {TRAIN.epochs} epochs"
            yield name, lambda: self._stored(pieces_store(most, TRAIN.epochs))

    def _recent(self) -> Iterator[tuple[str, Callable[[], Adapters]]]:
        for items in self.sizes.recent:
            if items not in self.sizes.lengths:
                config = replace(ASSEMBLE, recent_k=items)
                yield f"{PIECES} {items}", lambda c=config: self._assembled(some_of(self.place), c)

    def _tried(self) -> Iterator[tuple[str, Callable[[], Adapters]]]:
        for name, tried in tries(self.place).items():
            yield name, lambda t=tried: self._try(t)
        for name, (sharers, config) in likely_tries(self.place).items():
            most = self.place.people.setting.few
            few = max(n for n in by_likelihood.lengths(self.place) if n <= most)
            yield (
                name,
                lambda s=sharers, c=config, n=few: by_likelihood.assembled(
                    self.place, n, sharers=s, config=c
                ),
            )

    def _try(self, tried: Tried) -> Adapters:
        pool = some_of(self.place, tried.strategy, tried.sharers, tried.ratio)
        few = self.place.people.setting.few
        top_k = min(tried.assemble.top_k, len(pool.sharers))
        return self._assembled(pool, replace(tried.assemble, recent_k=few, top_k=top_k))

    def _assembled(self, pool: Pool, config: AssembleConfig) -> Adapters:
        items = {h.person: self.place.examples(h) for h in self.place.people.newcomers}
        recipes = assemble(self.place.base, pool, items, config)
        return {recipe.person: materialise(recipe, pool) for recipe in recipes}

    def _whole(self, count: int) -> Adapters:
        """Adapters of the sharers who are most like each newcomer."""
        pool = some_of(self.place)
        vectors = means(self.place.people, self.place.folder)
        sharers = {self.place.alias(p): vectors[p] for p in self.place.people.chosen["cluster"]}
        out: dict[str, LoraAdapter] = {}
        for history in self.place.people.newcomers:
            chosen = nearest(vectors[history.person], sharers, count)
            out[history.person] = materialise(whole_adapters(history.person, chosen, pool), pool)
        return out

    def _stored(self, store: str) -> Adapters:
        return self.place.adapters(store, [h.person for h in self.place.people.newcomers])


def tries(place: Place) -> dict[str, Tried]:
    """One setting after another beside the default ones, by name."""
    sizes = place.sizes
    out = {"as it is": Tried()}
    out |= {f"{n} sharers": Tried(sharers=n) for n in sizes.fewer}
    out |= {f"ratio {ratio:g}": Tried(ratio=ratio) for ratio in sizes.ratios}
    out |= {f"top {k}": Tried(assemble=replace(ASSEMBLE, top_k=k)) for k in sizes.top_k}
    out |= {f"sharers {s}": Tried(strategy=s) for s in place.people.setting.strategies[1:]}
    out["factors"] = Tried(assemble=replace(ASSEMBLE, aggregate="factors"))
    drawn = replace(ASSEMBLE, sample=True, temperature=1e6)
    out["pieces at random"] = Tried(assemble=drawn)
    return out


def likely_tries(place: Place) -> dict[str, tuple[int, AssembleConfig]]:
    """The same by likelihood: so many sharers (0 for all), and settings."""
    out = {"likely, as it is": (0, BY_LIKELIHOOD)}
    out |= {f"likely, {n} sharers": (n, BY_LIKELIHOOD) for n in place.sizes.fewer}
    for k in place.sizes.top_k:
        out[f"likely, top {k}"] = (0, replace(BY_LIKELIHOOD, top_k=k))
    return out


def adapter_bytes(place: Place, store: str) -> int:
    """Of one newcomer's adapter, as it is stored."""
    (adapter,) = place.adapters(store, [place.people.newcomers[0].person]).values()
    return adapter.bytes


def recipe_bytes(place: Place) -> float:
    """Of one newcomer's recipe: their store's files over the people in it."""
    folder = place.made / f"recipes-{place.sizes.most}"
    return _size(folder) / len(place.people.newcomers)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
