"""Rebuilds what was made of withdrawn pieces if histories are available; otherwise removes it.

A person whose recipe or adapter is removed keeps a record with the reason, so that using it raises
a clear error. The replacement is written before the original is deleted: after a kill in between,
work remains, but nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from idiolect.adapters.formats.peft import CONFIG_FILE
from idiolect.adapters.store.consent import open_ledger
from idiolect.adapters.store.shard import AdapterRecord
from idiolect.adapters.store.store import PARTS_FOLDER, AdapterStore
from idiolect.config import from_plain
from idiolect.errors import IdiolectError, MissingError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.pieces.assembly.assembler import Assembler
from idiolect.pieces.assembly.target_users import require_enough_sharers
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.recipes.initial_adapters import MixtureInitialAdapters
from idiolect.pieces.recipes.recipe import Recipe, make_empty_recipe
from idiolect.pieces.recipes.shard import WITHDRAWN, RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import delete_files
from idiolect.storage.manifest import Manifest
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.run import PersonalizeRun

WITHDRAWN_REASON = "a sharer of its pieces withdrew"
Outcome = Literal["reassembled", "retrained", "discarded", "deleted"]


BaseKind = tuple[DtypeName, str, QuantizeName]
"""The dtype, device and quantization of a base in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildEffect:
    """What happened to one artifact that was made of withdrawn pieces."""

    where: Path
    person: str = ""
    """The person of the recipe or adapter; empty for exported adapters and reports, which name no
    person."""
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Rebuilder:
    """Rebuilds or removes what was made of the pieces of sharers who are no longer in the pool."""

    pool: Pool
    sharers: frozenset[str]
    dataset: Dataset | None = None
    bases: Mapping[BaseKind, Base] = field(default_factory=dict)
    """The pool's base by dtype, device and quantization, as the recipes' settings need it."""
    base_source: str | None = None
    profiles: Path | None = None
    allow_older: bool = False
    is_preview: bool = False
    """Whether nothing is changed, and only what would happen is returned."""
    skip: Callable[[Path, str], bool] = lambda _folder, _person: False
    """In a preview: whether an earlier step would have replaced what a person has in a store."""
    wait: bool = True
    listener: Listener = null_listener

    @cached_property
    def _discarded_recipes(self) -> set[tuple[Path, str]]:
        """In a preview: the recipes that would be discarded, by folder and person."""
        return set()

    def rebuild_recipes(self, store: RecipeStore) -> list[RebuildEffect]:
        """Assemble recipes again, or remove them."""
        concerned = self._list_concerned(store)
        # Assemble again for people with a history; what fails is removed below, with the reason.
        able, why = self._split_by_history(concerned)
        if able:
            try:
                self._require_sharers(store)
                if not self.is_preview:
                    self._assemble_recipes(store, able)
            except IdiolectError as error:
                why |= dict.fromkeys(able, str(error))
        if self.is_preview:
            self._discarded_recipes.update((store.folder.resolve(), person) for person in why)
            return [_make_effect(store.folder, p, "reassembled", why, why) for p in concerned]
        # Read the store again: people who still use the pieces were not rebuilt.
        store = RecipeStore.open(store.folder)
        with store.lock_for_writing(wait=self.wait):
            left = store.people_using(self.sharers)
            gone = [RecipeRecord(person=p, made_by="", served=WITHDRAWN) for p in left]
            store.add_recipes(
                [(record, _make_empty_recipe(store, record.person)) for record in gone]
            )
            store.compact()
        return [_make_effect(store.folder, p, "reassembled", left, why) for p in concerned]

    def rebuild_adapters(self, store: AdapterStore) -> list[RebuildEffect]:
        """Train adapters again whose training started from pieces, or remove them."""
        concerned = self._list_concerned(store)
        self.delete_checkpoint(store)
        # Train again from the new recipes if possible. Whatever fails is removed below.
        able, why = self._split_by_history(concerned)
        recipes = self._find_recipes(store)
        # Recipes were rebuilt before, so training starts from the new ones.
        if recipes is None:
            why |= dict.fromkeys(able, "their recipes were not found")
        elif able:
            try:
                why |= self._train_adapters(store, recipes, able)
            except IdiolectError as error:
                why |= dict.fromkeys(able, str(error))
        if self.is_preview:
            return [_make_effect(store.folder, p, "retrained", why, why) for p in concerned]
        # Adapters that still use the pieces were not rebuilt: record why, and drop them.
        store = AdapterStore.open(store.folder)
        with store.lock_for_writing(wait=self.wait):
            left = store.people_using(self.sharers)
            if left:
                open_ledger(store).record_event(
                    "dropped", left, {"pool": self.pool.id, "why": WITHDRAWN_REASON}
                )
                gone = [AdapterRecord(person=p, served="withdrawn", made_by="") for p in left]
                store.add([(record, None) for record in gone])
            store.compact()
        return [_make_effect(store.folder, p, "retrained", left, why) for p in concerned]

    def delete_checkpoint(self, store: AdapterStore) -> None:
        """Delete a training checkpoint, which may have started from the pieces."""
        if self.is_preview:
            return
        with store.lock_for_writing(wait=self.wait):
            (store.folder / "checkpoint.bin").unlink(missing_ok=True)

    def _list_concerned(self, store: RecipeStore | AdapterStore) -> tuple[str, ...]:
        """Return the people of a store whose recipes or adapters use the pieces."""
        if self.is_preview:
            people = store.people_using(self.sharers)
            return tuple(person for person in people if not self.skip(store.folder, person))
        with store.lock_for_writing(wait=self.wait):
            return store.people_using(self.sharers)

    def _require_sharers(self, store: RecipeStore) -> None:
        """Raise UsageError if too few sharers are left in the pool for a store's settings."""
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        left = {*self.pool.sharers} - self.sharers
        require_enough_sharers(self.pool.folder, len(left), config.assemble)

    def _split_by_history(self, people: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Return the people with an available history, and the reason for each of the others."""
        if self.dataset is None:
            return [], dict.fromkeys(people, "no histories were given")
        able = [person for person in people if person in self.dataset]
        lacking = sorted(set(people) - set(able))
        return able, dict.fromkeys(lacking, f"no history in {self.dataset.folder}")

    def _find_recipes(self, store: AdapterStore) -> Path | None:
        """Return the recipes that a store's training starts from, if they still exist."""
        named = store.settings.get("pool")
        # A part of a sharded run is trained by that run, not here.
        if not named or store.folder.parent.name == PARTS_FOLDER:
            return None
        folder = (store.folder / named["recipes"]).resolve()
        return folder if (folder / RecipeStore.HEADER_FILE).is_file() else None

    def _assemble_recipes(self, store: RecipeStore, people: Sequence[str]) -> None:
        assert self.dataset is not None
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        base = self.bases[config.dtype, config.device, config.quantize]
        task = get_task(self.dataset.task)
        run = Assembler(base, task, self.pool, config, store.folder, listener=self.listener)
        run.run(self.dataset.iter_histories(people), people=len(people), wait=self.wait)

    def _train_adapters(
        self, store: AdapterStore, recipes: Path, people: Sequence[str]
    ) -> dict[str, str]:
        """Train the people who have a recipe; return the reason for each of the others."""
        assert self.dataset is not None
        starts = MixtureInitialAdapters(recipes)
        missing = {*starts.find_missing(people), *starts.find_stale(people)}
        if self.is_preview:
            # Recipes that use the pieces count as stale from the withdrawal until they are rebuilt.
            missing |= {p for p in people if (recipes, p) in self._discarded_recipes}
        ready = tuple(person for person in people if person not in missing)
        # The same settings as before, from the recipes that were just rebuilt.
        config = from_plain(PersonalConfig, store.settings, where=str(store.folder))
        if ready and config.context.profile and self.profiles is None:
            raise MissingError("it was trained with profiles, which were not given")
        request = PersonalizeRequest(
            data=self.dataset.folder,
            store=store.folder,
            base=self.base_source or store.base_source,
            config=config,
            people=ready,
            profiles=self.profiles,
            pieces=recipes,
            allow_older=self.allow_older,
            wait=self.wait,
        )
        older: Sequence[str] = ()
        if ready and not self.is_preview:
            open_starts = partial(MixtureInitialAdapters, recipes)
            run = PersonalizeRun(request, open_starts=open_starts, listener=self.listener)
            older = run.run_unsharded().older
        why = f"{self.dataset.folder} holds an older history than the adapter was made from"
        return dict.fromkeys(missing, f"no recipe in {recipes} any more") | dict.fromkeys(
            older, why
        )


def _make_empty_recipe(store: RecipeStore, person: str) -> Recipe:
    known = store.load_recipe(person)
    return make_empty_recipe(person, len(store.sites), known.aggregate if known else "delta")


def _make_effect(
    where: Path, person: str, done: Outcome, left: Collection[str], why: dict[str, str]
) -> RebuildEffect:
    if person not in left:
        return RebuildEffect(where=where, person=person, outcome=done)
    return RebuildEffect(where=where, person=person, outcome="discarded", why=why.get(person, ""))


def delete_export(folder: Path, *, is_preview: bool = False) -> RebuildEffect:
    """Delete an exported adapter, or say what that would do.

    The manifest and the configuration go last, so that the next run finds what a killed one left.
    """
    # The weights go first: without them nothing of the sharers is left.
    if not is_preview:
        names = sorted({*Manifest.read_unchecked(folder).files} - {CONFIG_FILE})
        delete_files(folder, [*names, Manifest.NAME, CONFIG_FILE])
    return RebuildEffect(
        where=folder, outcome="deleted", why="an exported adapter; export it again"
    )
