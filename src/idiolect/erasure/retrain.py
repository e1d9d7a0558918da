"""Rebuilds adapters and recipes of people whose histories changed, from what is left of the
histories.

What cannot be rebuilt is discarded, and a record says so: using it raises a clear error. A rebuilt
artifact is written before the old one is removed, so that a crash in between leaves work for a
second run and never a missing artifact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from idiolect.adapters.store.shard import AdapterRecord
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.erasure.inventory import LEDGER_FOLDER
from idiolect.erasure.origins import HistoryOrigins
from idiolect.erasure.run_state import RunState
from idiolect.errors import IdiolectError, MissingError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset
from idiolect.models.folder.model_source import require_base_files
from idiolect.models.load import load_base
from idiolect.pieces.assembly.assembler import Assembler
from idiolect.pieces.assembly.target_users import require_enough_sharers
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

REASON = "made from a history that contained words of {person}"


@dataclass(frozen=True, kw_only=True)
class AdapterRetrainer:
    """Rebuilds or discards what was made from histories that changed."""

    request: ErasureRequest
    dataset: Dataset
    """The histories after the redaction."""
    origins: HistoryOrigins
    """Tells which artifacts were made from histories that change."""
    rebuild: bool = True
    """Whether anything is rebuilt. Otherwise everything stale is discarded."""
    base: str | None = None
    """Where the base is now, if it was moved."""
    profiles: Path | None = None
    start_adapters: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Exported adapters that training may have started from, by the sha256 of their weights."""
    removed_bases: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Bases that changed or were deleted, by their old identity."""
    excluded_store: Path | None = None
    """A store in which the caller replaces the person's adapter itself."""
    state: RunState = field(default_factory=RunState)
    """What earlier steps did; a dry run plans only."""
    wait: bool = True
    listener: Listener = null_listener

    def retrain_store(self, folder: Path) -> list[ErasureEffect]:
        """Retrain or discard the stale adapters of one store."""
        store = AdapterStore.open(folder)
        stale, why = self._find_stale(store)
        if not stale:
            return []
        # A store without a ledger is a cache.
        if not (folder / LEDGER_FOLDER).is_dir():
            return self._drop_adapters(store, stale)
        known = [p for p in stale if self._belongs_to_dataset(store, p)]
        rebuildable = self._select_rebuildable(store.task, store.base, known, why)
        if rebuildable and not why:
            try:
                request = self._plan_training(store, rebuildable)
                if not self.state.is_dry_run:
                    self._train_adapters(request)
            except IdiolectError as error:
                rebuildable, why = [], str(error)
        if self.state.is_dry_run:
            left = sorted({*stale} - {*rebuildable})
            return [self._make_effect("adapter", folder, p, left, why) for p in stale]
        # Training reopened and changed the store. What is still stale was not rebuilt.
        store = AdapterStore.open(folder)
        with store.lock_for_writing(wait=self.wait):
            left = sorted(set(self._find_stale(store)[0]) & set(stale))
            if left:
                withdrawn = [AdapterRecord(person=p, served="withdrawn", made_by="") for p in left]
                store.add([(record, None) for record in withdrawn])
            store.compact()
        return [self._make_effect("adapter", folder, p, left, why) for p in stale]

    def rebuild_recipes(self, folder: Path) -> list[ErasureEffect]:
        """Reassemble or discard the stale recipes of one store."""
        store = RecipeStore.open(folder)
        stale = self._find_stale_recipes(store)
        if not stale:
            return []
        why = ""
        rebuildable = self._select_rebuildable(store.task, store.base, stale, "")
        if rebuildable:
            try:
                pool = self._open_pool(store)
                if not self.state.is_dry_run:
                    self._assemble_recipes(store, pool, rebuildable)
            except IdiolectError as error:
                rebuildable, why = [], str(error)
        if self.state.is_dry_run:
            left = sorted({*stale} - {*rebuildable})
            return [self._make_effect("recipe", folder, p, left, why) for p in stale]
        # What is still stale was not rebuilt: an empty recipe takes its place.
        store = RecipeStore.open(folder)
        with store.lock_for_writing(wait=self.wait):
            left = self._find_stale_recipes(store)
            aggregate: Aggregate = "factors" if "factors" in store.aggregates else "delta"
            empty = [make_empty_recipe(p, len(store.sites), aggregate) for p in left]
            records = [RecipeRecord(person=p, made_by="", served=WITHDRAWN) for p in left]
            store.add_recipes([*zip(records, empty, strict=True)])
            store.compact()
        return [self._make_effect("recipe", folder, p, left, why) for p in stale]

    def _find_stale(self, store: AdapterStore) -> tuple[list[str], str]:
        """Return the people whose adapters were derived from what is forgotten, and why none of
        them can be retrained, if so."""
        records = {
            p: r
            for p in store.people
            if (r := store.get_record(p)) is not None
            and not self.state.is_replaced(store.folder, p)
        }
        # A mean that included the person went into every adapter that started from it.
        if store.settings.get("start") in self.request.files:
            # The person's own adapter is removed later, not rebuilt.
            own = {self.request.person} if self.request.is_whole_person else set[str]()
            trained = sorted(p for p, r in records.items() if r.row is not None and p not in own)
            return trained, "its training started from a mean of adapters that was deleted"
        affected = self.origins.list_people(store.task) & records.keys()
        if (
            self.excluded_store is not None
            and store.folder.resolve() == self.excluded_store.resolve()
        ):
            affected -= {self.request.person}
        return [p for p in sorted(affected) if self.origins.is_affected(store, records[p])], ""

    def _belongs_to_dataset(self, store: AdapterStore, person: str) -> bool:
        """Whether the dataset can replace a person's adapter: it was not made from another one."""
        record = store.get_record(person)
        return record is not None and self.origins.rebuilds_from_main(store, record)

    def _find_stale_recipes(self, store: RecipeStore) -> list[str]:
        """Return the people whose recipes were made from a history that changed."""
        out: list[str] = []
        for person in sorted(self.origins.list_people(store.task)):
            record = store.get_record(person)
            if record is None or record.served == WITHDRAWN:
                continue
            if self.state.is_replaced(store.folder, person):
                continue
            if self.origins.is_recipe_affected(store.task, person, record.history):
                out.append(person)
        return out

    def _select_rebuildable(
        self, task: str, base: str, people: Sequence[str], why: str
    ) -> list[str]:
        """Return the people whose history and base are available."""
        if not self.rebuild or self.dataset.task != task or base in self.removed_bases or why:
            return []
        return [person for person in people if person in self.dataset]

    def _plan_training(self, store: AdapterStore, people: Sequence[str]) -> PersonalizeRequest:
        """Return the request that trains adapters again with the store's own settings.

        Raises the errors that need no training, so that a dry run knows them, too.
        """
        config = from_plain(PersonalConfig, store.settings, where=str(store.folder))
        # The path of the recipes is stored relative to the store.
        named = store.settings.get("pool")
        recipes = (store.folder / named["recipes"]).resolve() if named else None
        if config.context.profile and self.profiles is None:
            raise MissingError("it was trained with profiles, which were not given")
        if config.start and config.start not in self.start_adapters:
            raise MissingError("the adapter that its training started from was not found")
        if recipes is not None:
            MixtureInitialAdapters(recipes).require_all(people)
            for person in people:
                if self.state.is_discarded(recipes, person):
                    raise MissingError(f"the recipe of {person} that it started from is discarded")
        require_base_files(self.base or store.base_source)
        return PersonalizeRequest(
            data=self.dataset.folder,
            store=store.folder,
            base=self.base or store.base_source,
            config=config,
            people=tuple(people),
            profiles=self.profiles,
            start=self.start_adapters.get(config.start) if config.start else None,
            pieces=recipes,
            allow_older=True,
            wait=self.wait,
        )

    def _train_adapters(self, request: PersonalizeRequest) -> None:
        """Train adapters again."""
        recipes = request.pieces
        # Adapters that started from recipes of a pool start from the rebuilt recipes.
        open_starts = partial(MixtureInitialAdapters, recipes) if recipes else None
        run = PersonalizeRun(request, open_starts=open_starts, listener=self.listener)
        run.run_unsharded()

    def _open_pool(self, store: RecipeStore) -> Pool:
        """Open the pool of recipes. Raises the errors that need no assembly, so that a dry run
        knows them, too."""
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        pool = Pool.open(store.folder / store.pool_source)
        left = {*pool.sharers} - self.state.withdrawn_sharers
        require_enough_sharers(pool.folder, len(left), config.assemble)
        require_base_files(self.base or pool.base_source)
        return pool

    def _assemble_recipes(self, store: RecipeStore, pool: Pool, people: Sequence[str]) -> None:
        """Assemble recipes with the store's own settings."""
        config = from_plain(RecipeConfig, store.settings, where=str(store.folder))
        base = load_base(
            self.base or pool.base_source,
            dtype=config.dtype,
            device=config.device,
            quantize=config.quantize,
        )
        task = get_task(self.dataset.task)
        run = Assembler(base, task, pool, config, store.folder, listener=self.listener)
        run.run(self.dataset.iter_histories(people), people=len(people), wait=self.wait)

    def _drop_adapters(self, store: AdapterStore, people: Sequence[str]) -> list[ErasureEffect]:
        """Remove adapters from a cache, which trains missing ones when needed."""
        if not self.state.is_dry_run:
            with store.lock_for_writing(wait=self.wait):
                store.compact(set(people))
        why = "from a cache, which trains it again when needed"
        return [
            ErasureEffect(
                what="adapter", where=store.folder, outcome="discarded", person=p, why=why
            )
            for p in people
        ]

    def _make_effect(
        self, what: str, folder: Path, person: str, left: Sequence[str], why: str
    ) -> ErasureEffect:
        """Return the receipt's entry for one person. ``left`` lists the people who could not be
        rebuilt."""
        if person in left:
            outcome, reason = "discarded", why or self._explain_missing(person)
        else:
            outcome, reason = "rebuilt", REASON.format(person=self.request.person)
        return ErasureEffect(what=what, where=folder, outcome=outcome, person=person, why=reason)

    def _explain_missing(self, person: str) -> str:
        """Return why a person's artifact could not be rebuilt."""
        if not self.rebuild:
            return "rebuilding was turned off"
        if person not in self.dataset:
            return "no history available"
        if self.removed_bases:
            return "the base it was made for is gone"
        return "made from another dataset; make it again from that one"
