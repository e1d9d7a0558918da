"""Adapters and recipes of those whose histories changed, made anew from what is left of these.

What cannot be made anew is taken away, and a record says so, so that its use is a clear error. What
is made anew is written before the old goes: a kill in between leaves work, never a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from idiolect.adapters.store.shard import Record
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.erasure.inventory import LEDGER, in_dataset, is_stale, last_items
from idiolect.errors import IdiolectError
from idiolect.events import Listener, silent
from idiolect.history.dataset import Dataset
from idiolect.models.base import load_base
from idiolect.pieces.assembly.assembler import Assembling
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import Aggregate, RecipeConfig
from idiolect.pieces.recipes.initial_adapters import AssembledStarts
from idiolect.pieces.recipes.recipe import no_pieces
from idiolect.pieces.recipes.shard import WITHDRAWN, RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import Effect, Leaving
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.run import PersonalizeRun

WHY = "words of {person} were in what it was made of"


@dataclass(frozen=True, kw_only=True)
class Retrainer:
    """Sees to what was made of histories that are others now."""

    leaving: Leaving
    dataset: Dataset
    """The histories as they are without what goes."""
    rebuild: bool = True
    """Whether anything is to be made anew."""
    base: str | None = None
    """Where the base lies now, if it has moved."""
    profiles: Path | None = None
    starts: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Adapters from which training may have started, by the sha256 of their weights."""
    gone: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Bases that went, by their identity."""
    spared: Path | None = None
    """A store in which the adapter of who leaves is somebody else's task."""
    wait: bool = True
    listener: Listener = silent

    @property
    def concerned(self) -> frozenset[str]:
        """Whose histories are others now; who leaves altogether has none."""
        mine = () if self.leaving.whole else (self.leaving.person,)
        return self.leaving.changed.union(mine)

    def adapters(self, folder: Path) -> list[Effect]:
        """One store's: trained anew, or taken away."""
        store = AdapterStore.open(folder)
        stale, why = self._stale(store)
        if not stale:
            return []
        if not (folder / LEDGER).is_dir():
            return self._dropped(store, stale)
        able = self._able(store.task, store.base, stale, why)
        if able and not why:
            try:
                self._train(store, able)
            except IdiolectError as error:
                why = str(error)
        store = AdapterStore.open(folder)
        with store.writing(wait=self.wait):
            left = sorted(set(self._stale(store)[0]) & set(stale))
            if left:
                gone = [Record(person=p, served="withdrawn", made_by="") for p in left]
                store.add([(record, None) for record in gone])
            store.compact()
        return [self._effect("adapter", folder, p, left, why) for p in stale]

    def recipes(self, folder: Path) -> list[Effect]:
        """One store of recipes: assembled anew, or taken away."""
        store = RecipeStore.open(folder)
        stale = self._stale_recipes(store)
        if not stale:
            return []
        why = ""
        able = self._able(store.task, store.base, stale, "")
        if able:
            try:
                self._assemble(store, able)
            except IdiolectError as error:
                why = str(error)
        store = RecipeStore.open(folder)
        with store.writing(wait=self.wait):
            left = self._stale_recipes(store)
            aggregate: Aggregate = "factors" if "factors" in store.aggregates else "delta"
            nothing = [no_pieces(p, len(store.sites), aggregate) for p in left]
            records = [RecipeRecord(person=p, made_by="", served=WITHDRAWN) for p in left]
            store.add([*zip(records, nothing, strict=True)])
            store.compact()
        return [self._effect("recipe", folder, p, left, why) for p in stale]

    def _stale(self, store: AdapterStore) -> tuple[list[str], str]:
        """Whose adapters follow from what is gone, and why none can be trained anew if so."""
        there = {p: r for p in store.people if (r := store.record(p)) is not None}
        if store.settings.get("start") in self.leaving.files:
            having = sorted(p for p, r in there.items() if r.row is not None)
            return having, "its training started from a mean of adapters that is no more"
        last = last_items(store)
        concerned = self.concerned & there.keys()
        if self.spared is not None and store.folder.resolve() == self.spared.resolve():
            concerned -= {self.leaving.person}
        histories = in_dataset(self.dataset, concerned)
        return [p for p, history in histories.items() if is_stale(there[p], history, last)], ""

    def _stale_recipes(self, store: RecipeStore) -> list[str]:
        out: list[str] = []
        for person, history in in_dataset(self.dataset, self.concerned).items():
            record = store.record(person)
            if record is None or record.served == WITHDRAWN:
                continue
            if history is None or record.history != history.fingerprint():
                out.append(person)
        return out

    def _able(self, task: str, base: str, people: Sequence[str], why: str) -> list[str]:
        """Those who can be made anew: their history and their base are there."""
        if not self.rebuild or self.dataset.task != task or base in self.gone or why:
            return []
        return [person for person in people if person in self.dataset]

    def _train(self, store: AdapterStore, people: Sequence[str]) -> None:
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
            start=self.starts.get(config.start) if config.start else None,
            pieces=recipes,
            wait=self.wait,
        )
        open_starts = partial(AssembledStarts, recipes) if recipes else None
        run = PersonalizeRun(request, open_starts=open_starts, listener=self.listener)
        run.run_unsharded()

    def _assemble(self, store: RecipeStore, people: Sequence[str]) -> None:
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        pool = Pool.open(store.folder / store.pool_source)
        base = load_base(self.base or pool.base_source, dtype=config.dtype, device=config.device)
        task = get_task(self.dataset.task)
        run = Assembling(base, task, pool, config, store.folder, listener=self.listener)
        run.run(self.dataset.histories(people), people=len(people), wait=self.wait)

    def _dropped(self, store: AdapterStore, people: Sequence[str]) -> list[Effect]:
        """Out of a cache, whoever needs them trains them again."""
        with store.writing(wait=self.wait):
            store.compact(set(people))
        why = "of a cache: whoever needs it makes it anew"
        return [
            Effect(what="adapter", where=store.folder, outcome="taken away", person=p, why=why)
            for p in people
        ]

    def _effect(
        self, what: str, folder: Path, person: str, left: Sequence[str], why: str
    ) -> Effect:
        gone = person in left
        reason = (why or self._lacking(person)) if gone else WHY.format(person=self.leaving.person)
        outcome = "taken away" if gone else "made anew"
        return Effect(what=what, where=folder, outcome=outcome, person=person, why=reason)

    def _lacking(self, person: str) -> str:
        if not self.rebuild:
            return "nothing was to be made anew"
        if person not in self.dataset:
            return "no history at hand"
        return "the base it was made for is gone" if self.gone else "it is of another task"
