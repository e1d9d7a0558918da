"""A store of recipes in one folder: shards, and the pool and base that the recipes are for.

``recipes.json`` names the pool. The recipes are in ``shards/``; a later shard's record of a person
replaces an earlier one. A recipe takes about 2 KB per person; adapters are built from it on demand.
This module does not depend on assembling.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from idiolect.adapters.kinds import config_to_header
from idiolect.adapters.store.person_store import PersonStore
from idiolect.adapters.store.shard_index import get_tensors_path
from idiolect.errors import MismatchError
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import Aggregate
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.pieces.recipes.shard import (
    RecipeRecord,
    RecipeShard,
    read_max_pieces,
    read_recipe,
    read_recipes,
    write_recipes,
)
from idiolect.storage.files import write_json


class RecipeStore(PersonStore[RecipeRecord]):
    """An open store of recipes. Reading needs no lock; write inside ``lock_for_writing``."""

    HEADER_FILE = "recipes.json"
    DISPLAY_NAME = "store of recipes"
    COMMAND = "assemble"

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        super().__init__(folder, head, read_recipes)
        try:
            self.pool_id = str(head["pool"])
            """The pool's id."""
            self.pool_source = str(head["pool_source"])
            """The pool's folder relative to this one; stays valid if both move together."""
            self.sites: tuple[str, ...] = tuple(map(str, head["sites"]))
        except (KeyError, TypeError) as error:
            raise self.make_header_error(error) from error

    @staticmethod
    def create(folder: Path, pool: Pool, *, settings: object) -> RecipeStore:
        """Create a store for a pool's recipes, or open the existing one if it is for the same
        pool.

        Changed settings are written by ``lock_for_writing``, not before. Raises MismatchError for a
        store of another pool, UsageError if the folder holds other files.
        """
        head = {
            "format": RecipeStore.FORMAT_VERSION,
            "pool": pool.id,
            "pool_source": pool.get_relative_path(folder),
            "sites": list(pool.sites),
            "base": pool.base,
            "base_name": pool.base_name,
            "base_source": pool.base_source,
            "tokenizer": pool.tokenizer,
            "task": pool.task,
            **config_to_header(pool.lora),
            "settings": settings,
        }
        # An existing store keeps its header file until the caller holds the lock.
        store = RecipeStore.require_room(folder, pool)
        if store is not None:
            store.settings, store._pending_header = head["settings"], head
            return store
        write_json(folder / RecipeStore.HEADER_FILE, head)
        return RecipeStore.open(folder)

    @staticmethod
    def require_room(folder: Path, pool: Pool) -> RecipeStore | None:
        """Return the store in a folder, or None if a new one can be created; raises the same errors
        as ``create``."""
        if (folder / RecipeStore.HEADER_FILE).exists():
            store = RecipeStore.open(folder)
            store.require_pool(pool)
            return store
        RecipeStore.check_folder_free(folder, empty="shards")
        return None

    @staticmethod
    def open(folder: Path) -> RecipeStore:
        """Open a store. Raises MissingError if there is none, IntegrityError for foreign or
        changed files."""
        return RecipeStore(folder, RecipeStore.read_header(folder))

    def require_pool(self, pool: Pool) -> None:
        """Raise MismatchError if the recipes are for another pool."""
        if (self.pool_id, self.sites) != (pool.id, pool.sites):
            raise MismatchError(
                f"{self.folder}: its recipes are for the pool that was in {self.pool_source} "
                f"({self.pool_id}), but {pool.folder} is pool {pool.id}; name that pool or "
                "another folder"
            )

    def load_recipe(self, person: str) -> Recipe | None:
        """Return a person's recipe, or None for an unknown person. Raises IntegrityError for a
        changed file."""
        return self._read_person(person, self._read_recipe)

    def _read_recipe(self, number: int, record: RecipeRecord) -> Recipe:
        shard = cast("RecipeShard", self._shards.shards[number])
        return self._read_verified(number, lambda path: read_recipe(path, shard, record))

    @property
    def aggregates(self) -> frozenset[Aggregate]:
        """The ways in which pieces are aggregated in these recipes."""
        return frozenset(
            cast("RecipeShard", shard).aggregate for shard in self._shards.shards.values()
        )

    @property
    def max_pieces(self) -> int:
        """The maximum number of pieces per module over all recipes."""
        numbers = self._shards.shards
        return max(
            (read_max_pieces(get_tensors_path(self._shards.folder, n)) for n in numbers), default=1
        )

    def mentions_any(self, sharers: Collection[str]) -> bool:
        """Return whether any shard names one of the sharers, including records that were
        replaced."""
        self._refresh_shards()
        shards = (cast("RecipeShard", shard) for shard in self._shards.shards.values())
        return any(set(sharers) & set(shard.sharers) for shard in shards)

    def people_using(self, sharers: Collection[str]) -> tuple[str, ...]:
        """Return the people whose recipes use a piece of any of these sharers, sorted."""
        # Live recipes only: a replaced one no longer uses the pieces.
        found = ((person, self.load_recipe(person)) for person in self.people)
        return tuple(p for p, recipe in found if recipe and set(sharers) & set(recipe.sharers))

    def add_recipes(self, entries: Sequence[tuple[RecipeRecord, Recipe]]) -> None:
        """Append people's recipes. After this returns they are durably in the store."""
        # A shard holds recipes of one aggregate only.
        for aggregate in sorted({recipe.aggregate for _, recipe in entries}):
            alike = [entry for entry in entries if entry[1].aggregate == aggregate]
            self._shards.register(
                write_recipes(self._shards.folder, self._shards.next_number, alike)
            )

    def compact(self, without: Collection[str] = ()) -> None:
        """Rewrite shards without replaced records and without the recipes of the people in
        ``without``."""
        for number, live in self._shards.stale_shards(without):
            # Write the live recipes into a new shard before the old one goes: a kill loses
            # nothing.
            kept = [(record, self.load_recipe(record.person)) for record in live]
            self.add_recipes([(record, recipe) for record, recipe in kept if recipe is not None])
            self._shards.remove_shard(number)
