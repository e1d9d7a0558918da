"""Scores of all methods for the same target users and queries, person by person.

Finished scores are saved in the work folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from idiolect.adapters.lora import LoraAdapter
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.by_similarity import find_nearest_sharers, mix_whole_adapters
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.storage.files import read_json, write_json
from suites.pieces import by_likelihood
from suites.pieces.people import compute_mean_vectors
from suites.pieces.pools import open_pool_subset
from suites.pieces.prepare import (
    assemble_adapters,
    format_likelihood_store,
    format_own_store,
    format_pieces_store,
    select_start_lengths,
)
from suites.pieces.scoring import HeldOutScorer, Scores
from suites.pieces.settings import ASSEMBLE, BY_LIKELIHOOD, TRAIN
from suites.pieces.tune_gates import list_choice_ids
from suites.pieces.workspace import Workspace

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
class TriedSettings:
    """A setting of the pool and of assembling, tried with few items of each target user."""

    strategy: str = "cluster"
    sharers: int = 0
    ratio: float = 1.0
    assemble: AssembleConfig = ASSEMBLE


class QualityBenchmark:
    """Scores by name: ``own 20`` uses the last 20 items, ``own 50, 1 epoch`` trains for 1 epoch."""

    def __init__(self, place: Workspace) -> None:
        self.place, self.sizes = place, place.sizes
        self.path = place.artifact_folder / "scores.json"
        self.scores: dict[str, Scores] = {}
        self._scorer: HeldOutScorer | None = None
        if self.path.is_file():
            self.scores = {
                name: Scores(nats=tuple(s["nats"]), mae=tuple(s["mae"]))
                for name, s in read_json(self.path).items()
            }

    @property
    def scorer(self) -> HeldOutScorer:
        """The scorer of the target users' queries, made on first use."""
        if self._scorer is None:
            asked = {
                h.person: self.place.build_query_examples(h) for h in self.place.people.target_users
            }
            options = list_choice_ids(self.place)
            self._scorer = HeldOutScorer(self.place.base, self.place.lora, asked, choices=options)
        return self._scorer

    def measure_all(self) -> dict[str, Scores]:
        """Return the scores of all methods; measures only what the work folder lacks."""
        for name, make in (*self._iter_methods(), *self._iter_recent(), *self._iter_tried()):
            if name not in self.scores:
                began = time.perf_counter()
                self.scores[name] = self.scorer.score_adapters(make())
                write_json(self.path, {name: asdict(one) for name, one in self.scores.items()})
                self.place.record_seconds(
                    "quality", time.perf_counter() - began, folder=self.place.artifact_folder
                )
        return self.scores

    def _iter_methods(self) -> Iterator[tuple[str, Callable[[], Adapters]]]:
        """Yield name and adapters of each method that is compared, by length of history."""
        most = self.sizes.longest_history
        # Methods without training for the target user.
        yield BASE, dict
        yield NEAREST, lambda: self._mix_nearest(1)
        yield AVERAGE, lambda: self._mix_nearest(ASSEMBLE.top_k)
        # Pieces by gates, own training, and training that starts from these pieces.
        for length in self.sizes.lengths:
            yield f"{PIECES} {length}", lambda n=length: assemble_adapters(self.place, n)
            yield f"{OWN} {length}", lambda n=length: self._load_stored(format_own_store(n))
            if length in select_start_lengths(self.place):
                yield (
                    f"{FROM_PIECES} {length}",
                    lambda n=length: self._load_stored(format_pieces_store(n)),
                )
        # The same by likelihood.
        for length in by_likelihood.select_lengths(self.place):
            yield (
                f"{LIKELY} {length}",
                lambda n=length: by_likelihood.assemble_adapters(self.place, n),
            )
            yield (
                f"{FROM_LIKELY} {length}",
                lambda n=length: self._load_stored(format_likelihood_store(n)),
            )
        # Other numbers of epochs, for the loss by steps.
        yield f"{OWN} {most}, 1 epoch", lambda: self._load_stored(format_own_store(most, 1))
        if most in select_start_lengths(self.place):
            name = f"{FROM_PIECES} {most}, {TRAIN.epochs} epochs"
            yield name, lambda: self._load_stored(format_pieces_store(most, TRAIN.epochs))

    def _iter_recent(self) -> Iterator[tuple[str, Callable[[], Adapters]]]:
        """Yield pieces from the last items, for numbers of items that are no length of history."""
        for items in self.sizes.recent:
            if items not in self.sizes.lengths:
                config = replace(ASSEMBLE, recent_k=items)
                yield (
                    f"{PIECES} {items}",
                    lambda c=config: self._assemble_from(open_pool_subset(self.place), c),
                )

    def _iter_tried(self) -> Iterator[tuple[str, Callable[[], Adapters]]]:
        """Yield pieces with one setting changed at a time."""
        for name, tried in list_tries(self.place).items():
            yield name, lambda t=tried: self._assemble_tried(t)
        for name, (sharers, config) in list_likelihood_tries(self.place).items():
            most = self.place.people.setting.few
            few = max(n for n in by_likelihood.select_lengths(self.place) if n <= most)
            yield (
                name,
                lambda s=sharers, c=config, n=few: by_likelihood.assemble_adapters(
                    self.place, n, sharers=s, config=c
                ),
            )

    def _assemble_tried(self, tried: TriedSettings) -> Adapters:
        pool = open_pool_subset(self.place, tried.strategy, tried.sharers, tried.ratio)
        few = self.place.people.setting.few
        top_k = min(tried.assemble.top_k, len(pool.sharers))
        return self._assemble_from(pool, replace(tried.assemble, recent_k=few, top_k=top_k))

    def _assemble_from(self, pool: Pool, config: AssembleConfig) -> Adapters:
        items = {h.person: self.place.build_examples(h) for h in self.place.people.target_users}
        recipes = assemble_recipes(self.place.base, pool, items, config)
        return {recipe.person: build_adapter(recipe, pool) for recipe in recipes}

    def _mix_nearest(self, count: int) -> Adapters:
        """Return the mean of the ``count`` most similar sharers' adapters, by target user."""
        pool = open_pool_subset(self.place)
        # Similarity is the cosine of mean vectors; whole adapters are averaged.
        vectors = compute_mean_vectors(self.place.people, self.place.folder)
        sharers = {
            self.place.make_pseudonym(p): vectors[p] for p in self.place.people.chosen["cluster"]
        }
        out: dict[str, LoraAdapter] = {}
        for history in self.place.people.target_users:
            chosen = find_nearest_sharers(vectors[history.person], sharers, count)
            out[history.person] = build_adapter(
                mix_whole_adapters(history.person, chosen, pool), pool
            )
        return out

    def _load_stored(self, store: str) -> Adapters:
        return self.place.read_adapters(store, [h.person for h in self.place.people.target_users])


def list_tries(place: Workspace) -> dict[str, TriedSettings]:
    """Return the settings by name: the defaults, and the defaults with one change each."""
    sizes = place.sizes
    out = {"as it is": TriedSettings()}
    out |= {f"{n} sharers": TriedSettings(sharers=n) for n in sizes.fewer}
    out |= {f"ratio {ratio:g}": TriedSettings(ratio=ratio) for ratio in sizes.ratios}
    out |= {f"top {k}": TriedSettings(assemble=replace(ASSEMBLE, top_k=k)) for k in sizes.top_k}
    out |= {f"sharers {s}": TriedSettings(strategy=s) for s in place.people.setting.strategies[1:]}
    out["factors"] = TriedSettings(assemble=replace(ASSEMBLE, aggregate="factors"))
    # At this temperature all pieces are equally probable.
    drawn = replace(ASSEMBLE, sample=True, temperature=1e6)
    out["pieces at random"] = TriedSettings(assemble=drawn)
    return out


def list_likelihood_tries(place: Workspace) -> dict[str, tuple[int, AssembleConfig]]:
    """Return the same by likelihood: number of sharers (0 for all) and settings, by name."""
    out = {"likely, as it is": (0, BY_LIKELIHOOD)}
    out |= {f"likely, {n} sharers": (n, BY_LIKELIHOOD) for n in place.sizes.fewer}
    for k in place.sizes.top_k:
        out[f"likely, top {k}"] = (0, replace(BY_LIKELIHOOD, top_k=k))
    return out


def measure_adapter_bytes(place: Workspace, store: str) -> int:
    """Return the stored bytes of one target user's adapter."""
    (adapter,) = place.read_adapters(store, [place.people.target_users[0].person]).values()
    return adapter.num_bytes


def measure_recipe_bytes(place: Workspace) -> float:
    """Return the bytes of the recipe store divided by the number of target users."""
    folder = place.artifact_folder / f"recipes-{place.sizes.longest_history}"
    return _measure_folder_bytes(folder) / len(place.people.target_users)


def _measure_folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
