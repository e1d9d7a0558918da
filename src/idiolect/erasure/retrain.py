"""Adapters and recipes of those whose histories changed, made anew from what is left of these.

What cannot be made anew is taken away, and a record says so, so that its use is a clear error. What
is made anew is written before the old goes: a kill in between leaves work, never a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from idiolect.adapters.store.shard import AdapterRecord
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.erasure.inventory import LEDGER_FOLDER, find_histories, is_stale, read_last_items
from idiolect.errors import IdiolectError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset
from idiolect.models.base import load_base
from idiolect.pieces.assembly.assembler import Assembler
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import Aggregate, RecipeConfig
from idiolect.pieces.recipes.initial_adapters import MixtureInitialAdapters
from idiolect.pieces.recipes.recipe import make_empty_recipe
from idiolect.pieces.recipes.shard import WITHDRAWN, RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.run import PersonalizeRun

REASON = "words of {person} were in what it was made of"


@dataclass(frozen=True, kw_only=True)
class AdapterRetrainer:
    """Sees to what was made of histories that are others now."""

    request: ErasureRequest
    dataset: Dataset
    """The histories as they are without what goes."""
    rebuild: bool = True
    """Whether anything is to be made anew."""
    base: str | None = None
    """Where the base lies now, if it has moved."""
    profiles: Path | None = None
    start_adapters: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Adapters from which training may have started, by the sha256 of their weights."""
    removed_bases: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Bases that went, by their identity."""
    excluded_store: Path | None = None
    """A store in which the adapter of who leaves is somebody else's task."""
    wait: bool = True
    listener: Listener = null_listener

    @property
    def affected_people(self) -> frozenset[str]:
        """Whose histories are others now; who leaves altogether has none."""
        mine = () if self.request.is_whole_person else (self.request.person,)
        return self.request.affected_people.union(mine)

    def retrain_store(self, folder: Path) -> list[ErasureEffect]:
        """One store's: trained anew, or taken away."""
        store = AdapterStore.open(folder)
        stale, why = self._find_stale(store)
        if not stale:
            return []
        if not (folder / LEDGER_FOLDER).is_dir():
            return self._drop_adapters(store, stale)
        able = self._select_rebuildable(store.task, store.base, stale, why)
        if able and not why:
            try:
                self._train_adapters(store, able)
            except IdiolectError as error:
                why = str(error)
        store = AdapterStore.open(folder)
        with store.lock_for_writing(wait=self.wait):
            left = sorted(set(self._find_stale(store)[0]) & set(stale))
            if left:
                gone = [AdapterRecord(person=p, served="withdrawn", made_by="") for p in left]
                store.add([(record, None) for record in gone])
            store.compact()
        return [self._make_effect("adapter", folder, p, left, why) for p in stale]

    def rebuild_recipes(self, folder: Path) -> list[ErasureEffect]:
        """One store of recipes: assembled anew, or taken away."""
        store = RecipeStore.open(folder)
        stale = self._find_stale_recipes(store)
        if not stale:
            return []
        why = ""
        able = self._select_rebuildable(store.task, store.base, stale, "")
        if able:
            try:
                self._assemble_recipes(store, able)
            except IdiolectError as error:
                why = str(error)
        store = RecipeStore.open(folder)
        with store.lock_for_writing(wait=self.wait):
            left = self._find_stale_recipes(store)
            aggregate: Aggregate = "factors" if "factors" in store.aggregates else "delta"
            nothing = [make_empty_recipe(p, len(store.sites), aggregate) for p in left]
            records = [RecipeRecord(person=p, made_by="", served=WITHDRAWN) for p in left]
            store.add_recipes([*zip(records, nothing, strict=True)])
            store.compact()
        return [self._make_effect("recipe", folder, p, left, why) for p in stale]

    def _find_stale(self, store: AdapterStore) -> tuple[list[str], str]:
        """Whose adapters follow from what is gone, and why none can be trained anew if so."""
        there = {p: r for p in store.people if (r := store.get_record(p)) is not None}
        if store.settings.get("start") in self.request.files:
            having = sorted(p for p, r in there.items() if r.row is not None)
            return having, "its training started from a mean of adapters that is no more"
        last = read_last_items(store)
        concerned = self.affected_people & there.keys()
        if (
            self.excluded_store is not None
            and store.folder.resolve() == self.excluded_store.resolve()
        ):
            concerned -= {self.request.person}
        histories = find_histories(self.dataset, concerned)
        return [p for p, history in histories.items() if is_stale(there[p], history, last)], ""

    def _find_stale_recipes(self, store: RecipeStore) -> list[str]:
        out: list[str] = []
        for person, history in find_histories(self.dataset, self.affected_people).items():
            record = store.get_record(person)
            if record is None or record.served == WITHDRAWN:
                continue
            if history is None or record.history != history.compute_fingerprint():
                out.append(person)
        return out

    def _select_rebuildable(
        self, task: str, base: str, people: Sequence[str], why: str
    ) -> list[str]:
        """Those who can be made anew: their history and their base are there."""
        if not self.rebuild or self.dataset.task != task or base in self.removed_bases or why:
            return []
        return [person for person in people if person in self.dataset]

    def _train_adapters(self, store: AdapterStore, people: Sequence[str]) -> None:
        config = from_plain(PersonalConfig, store.settings, where=str(store.folder))
        named = store.settings.get("pool")
        recipes = (store.folder / named["recipes"]).resolve() if named else None
        request = PersonalizeRequest(
            data=self.dataset.folder,
            store=store.folder,
            base=self.base or store.base_source,
            config=config,
            people=tuple(people),
            profiles=self.profiles,
            start=self.start_adapters.get(config.start) if config.start else None,
            pieces=recipes,
            wait=self.wait,
        )
        open_starts = partial(MixtureInitialAdapters, recipes) if recipes else None
        run = PersonalizeRun(request, open_starts=open_starts, listener=self.listener)
        run.run_unsharded()

    def _assemble_recipes(self, store: RecipeStore, people: Sequence[str]) -> None:
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        pool = Pool.open(store.folder / store.pool_source)
        base = load_base(self.base or pool.base_source, dtype=config.dtype, device=config.device)
        task = get_task(self.dataset.task)
        run = Assembler(base, task, pool, config, store.folder, listener=self.listener)
        run.run(self.dataset.iter_histories(people), people=len(people), wait=self.wait)

    def _drop_adapters(self, store: AdapterStore, people: Sequence[str]) -> list[ErasureEffect]:
        """Out of a cache, whoever needs them trains them again."""
        with store.lock_for_writing(wait=self.wait):
            store.compact(set(people))
        why = "of a cache: whoever needs it makes it anew"
        return [
            ErasureEffect(
                what="adapter", where=store.folder, outcome="discarded", person=p, why=why
            )
            for p in people
        ]

    def _make_effect(
        self, what: str, folder: Path, person: str, left: Sequence[str], why: str
    ) -> ErasureEffect:
        gone = person in left
        reason = (
            (why or self._explain_missing(person))
            if gone
            else REASON.format(person=self.request.person)
        )
        outcome = "discarded" if gone else "rebuilt"
        return ErasureEffect(what=what, where=folder, outcome=outcome, person=person, why=reason)

    def _explain_missing(self, person: str) -> str:
        if not self.rebuild:
            return "nothing was to be made anew"
        if person not in self.dataset:
            return "no history at hand"
        return "the base it was made for is gone" if self.removed_bases else "it is of another task"
