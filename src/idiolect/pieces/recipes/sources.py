"""A folder opened as a source of adapters: recipes with their pool, or a store of adapters.

Where a pool is at hand, nothing that is made of the pieces of somebody who left is given out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.source import AdapterSource
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.pieces.recipes.shard import RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore

_PROMPT_SETTINGS = ("prompt", "dtype", "device")
"""The settings of recipes that say how items were shown; those of a store have the same names."""


class MixtureSource:
    """Recipes and the pool that they are for, as a source of adapters."""

    def __init__(self, recipes: RecipeStore, pool: Pool) -> None:
        recipes.require_pool(pool)
        self.recipes, self.pool = recipes, pool
        self.folder, self.made_by_command = recipes.folder, recipes.made_by_command
        self.base, self.task = recipes.base, recipes.task
        self.base_name, self.base_source = recipes.base_name, recipes.base_source
        self.settings = {name: recipes.settings[name] for name in _PROMPT_SETTINGS}
        self.check_compatible = recipes.check_compatible

    @property
    def people(self) -> tuple[str, ...]:
        """Everyone who has a recipe, or nothing to make one of, sorted."""
        return self.recipes.people

    def get_record(self, person: str) -> RecipeRecord | None:
        """What is known of a person's recipe, ``None`` for a stranger."""
        return self.recipes.get_record(person)

    def get_adapter(self, person: str) -> Adapter | None:
        """The adapter of a person's recipe; raises as ``materialise``."""
        recipe = self.recipes.load_recipe(person)
        return build_adapter(recipe, self.pool) if recipe and recipe.sharers else None

    def provenance(self, person: str) -> Mapping[str, Any]:
        """Whose pieces a person's adapter is made of, and of which pool."""
        recipe = self.recipes.load_recipe(person)
        return {"pool": self.pool.id, "sharers": list(recipe.sharers)} if recipe else {}


class CheckedAdapterStore(AdapterStore):
    """A store of adapters whose training started from pieces of a pool that is at hand."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        super().__init__(folder, AdapterStore.read_header(folder))
        self._pool = pool

    def get_adapter(self, person: str) -> Adapter | None:
        """A person's adapter; raises MismatchError where a sharer of its pieces has withdrawn."""
        record = self.get_record(person)
        if record is not None:
            require_present(
                self._pool,
                record.sharers,
                f"{self.folder}: the adapter of {person!r}",
                self.made_by_command,
            )
        return super().get_adapter(person)


def require_present(pool: Pool, sharers: Sequence[str], what: str, making: str) -> None:
    """Raise MismatchError where somebody whose pieces ``what`` is made of is not in the pool."""
    there = set(pool.sharers)
    gone = [sharer for sharer in sharers if sharer not in there]
    if gone:
        raise MismatchError(
            f"{what} is made of pieces of sharer {gone[0]}, who is not in the pool {pool.folder} "
            f"any more; make it anew: idiolect {making}"
        )


def open_source(folder: Path, pool: Path | None = None) -> AdapterSource:
    """Open recipes or a store of adapters, whichever is there.

    ``pool``: where their pool lies now, if that has moved. Raises MissingError where there is
    neither, IntegrityError for foreign or changed files, MismatchError for another pool.
    """
    if (folder / RecipeStore.HEADER_FILE).is_file():
        return open_recipes(folder, pool)
    return open_store(folder, pool)


def open_recipes(folder: Path, pool: Path | None = None) -> MixtureSource:
    """Open recipes with their pool; raises as ``open_source``."""
    recipes = RecipeStore.open(folder)
    at = pool or folder / recipes.pool_source
    if pool is None and not (at / Pool.HEADER_FILE).is_file():
        raise MissingError(
            f"{folder}: the pool that its recipes are for is not in {at.resolve()} any more; say "
            "where it lies now: --pool FOLDER"
        )
    return MixtureSource(recipes, Pool.open(at))


def open_store(folder: Path, pool: Path | None = None) -> AdapterStore:
    """Open a store of adapters; raises as ``open_source``."""
    store = AdapterStore.open(folder)
    named = store.settings.get("pool")
    if not named:
        if pool is not None:
            raise UsageError(f"{folder}: its adapters are not made of pieces; leave the pool out")
        return store
    at = pool or folder / named["source"]
    if not (at / Pool.HEADER_FILE).is_file() and pool is None:
        return store
    opened = Pool.open(at)
    if opened.id == named["id"]:
        return CheckedAdapterStore(folder, opened)
    if pool is None:
        return store
    raise MismatchError(f"{folder}: made of pieces of the pool {named['id']}, not of {pool}")
