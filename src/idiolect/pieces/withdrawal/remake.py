"""What was made of withdrawn pieces, made anew where histories are at hand, else taken away.

Whose recipe or adapter goes keeps a record that says why, so that using it is a clear error. What
is made anew is written before the old goes: a kill in between leaves work, never a gap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from idiolect.adapters.formats.peft import CONFIG
from idiolect.adapters.store.consent import ledger_of
from idiolect.adapters.store.shard import Record
from idiolect.adapters.store.store import PARTS, AdapterStore
from idiolect.config import from_plain
from idiolect.errors import IdiolectError
from idiolect.events import Listener, silent
from idiolect.history.dataset import Dataset
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.pieces.assembly.assembler import Assembling
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.recipes.initial_adapters import AssembledStarts
from idiolect.pieces.recipes.recipe import Recipe, no_pieces
from idiolect.pieces.recipes.shard import WITHDRAWN, RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.storage.manifest import Manifest
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.run import PersonalizeRun

WHY = "a sharer of its pieces withdrew"
Outcome = Literal["assembled anew", "trained anew", "taken away", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What became of something that was made of withdrawn pieces."""

    where: Path
    person: str = ""
    """Whose recipe or adapter it was; empty for exported adapters and reports, which do not say."""
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Remaker:
    """Sees to what was made of the pieces of some sharers, who are in the pool no more."""

    pool: Pool
    sharers: frozenset[str]
    dataset: Dataset | None = None
    bases: Mapping[tuple[DtypeName, str], Base] = field(default_factory=dict)
    """The pool's base by dtype and device, as recipes want it."""
    base_source: str | None = None
    profiles: Path | None = None
    wait: bool = True
    listener: Listener = silent

    def recipes(self, store: RecipeStore) -> list[Effect]:
        """Recipes: assembled anew, or taken away."""
        with store.writing(wait=self.wait):
            concerned = store.using(self.sharers)
        able, why = self._at_hand(concerned)
        if able:
            try:
                self._assemble(store, able)
            except IdiolectError as error:
                why |= dict.fromkeys(able, str(error))
        store = RecipeStore.open(store.folder)
        with store.writing(wait=self.wait):
            left = store.using(self.sharers)
            store.add([(_gone(person), _nothing(store, person)) for person in left])
            store.compact()
        return [_effect(store.folder, p, "assembled anew", left, why) for p in concerned]

    def adapters(self, store: AdapterStore) -> list[Effect]:
        """Adapters whose training started from pieces: trained anew, or taken away."""
        with store.writing(wait=self.wait):
            concerned = store.using(self.sharers)
            (store.folder / "checkpoint.bin").unlink(missing_ok=True)
        able, why = self._at_hand(concerned)
        recipes = self._recipes_of(store)
        if recipes is None:
            why |= dict.fromkeys(able, "their recipes are not at hand")
        elif able:
            try:
                why |= self._train(store, recipes, able)
            except IdiolectError as error:
                why |= dict.fromkeys(able, str(error))
        store = AdapterStore.open(store.folder)
        with store.writing(wait=self.wait):
            left = store.using(self.sharers)
            if left:
                ledger_of(store).record("dropped", left, {"pool": self.pool.id, "why": WHY})
                gone = [Record(person=p, served="withdrawn", made_by="") for p in left]
                store.add([(record, None) for record in gone])
            store.compact()
        return [_effect(store.folder, p, "trained anew", left, why) for p in concerned]

    def forget_progress(self, store: AdapterStore) -> None:
        """Remove work in progress, which may have started from the pieces."""
        with store.writing(wait=self.wait):
            (store.folder / "checkpoint.bin").unlink(missing_ok=True)

    def _at_hand(self, people: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Those whose history is at hand, and why not of all others."""
        if self.dataset is None:
            return [], dict.fromkeys(people, "no histories at hand")
        able = [person for person in people if person in self.dataset]
        lacking = sorted(set(people) - set(able))
        return able, dict.fromkeys(lacking, f"no history in {self.dataset.folder}")

    def _recipes_of(self, store: AdapterStore) -> Path | None:
        """The recipes that a store's training starts from, where they still are."""
        named = store.settings.get("pool")
        if not named or store.folder.parent.name == PARTS:
            return None
        folder = (store.folder / named["recipes"]).resolve()
        return folder if (folder / RecipeStore.HEAD).is_file() else None

    def _assemble(self, store: RecipeStore, people: Sequence[str]) -> None:
        assert self.dataset is not None
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        base = self.bases[config.dtype, config.device]
        task = get_task(self.dataset.task)
        run = Assembling(base, task, self.pool, config, store.folder, listener=self.listener)
        run.run(self.dataset.histories(people), people=len(people), wait=self.wait)

    def _train(self, store: AdapterStore, recipes: Path, people: Sequence[str]) -> dict[str, str]:
        """Train those who have a recipe; gives why not the others."""
        assert self.dataset is not None
        starts = AssembledStarts(recipes)
        lacking = {*starts.lacking(people), *starts.stale(people)}
        ready = tuple(person for person in people if person not in lacking)
        request = PersonalizeRequest(
            data=self.dataset.folder,
            store=store.folder,
            base=self.base_source or store.base_source,
            config=from_plain(PersonalConfig, store.settings, where=str(store.folder)),
            people=ready,
            profiles=self.profiles,
            pieces=recipes,
            wait=self.wait,
        )
        if ready:
            open_starts = partial(AssembledStarts, recipes)
            run = PersonalizeRun(request, open_starts=open_starts, listener=self.listener)
            run.run_unsharded()
        return dict.fromkeys(lacking, f"no recipe in {recipes} any more")


def _nothing(store: RecipeStore, person: str) -> Recipe:
    known = store.recipe(person)
    return no_pieces(person, len(store.sites), known.aggregate if known else "delta")


def _gone(person: str) -> RecipeRecord:
    return RecipeRecord(person=person, made_by="", served=WITHDRAWN)


def _effect(
    where: Path, person: str, done: Outcome, left: Collection[str], why: dict[str, str]
) -> Effect:
    if person not in left:
        return Effect(where=where, person=person, outcome=done)
    return Effect(where=where, person=person, outcome="taken away", why=why.get(person, ""))


def delete_export(folder: Path) -> Effect:
    """Delete an exported adapter: its weights first, so that what a kill leaves is found again."""
    names = sorted({*Manifest.peek(folder).files} - {CONFIG})
    for name in (*names, Manifest.NAME, CONFIG):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return Effect(where=folder, outcome="deleted", why="an exported adapter; export it anew")
