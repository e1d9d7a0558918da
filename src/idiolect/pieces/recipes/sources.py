"""Opens a folder as a source of adapters: recipes with their pool, or a store of adapters.

If the pool is available, adapters made of the pieces of a withdrawn sharer are refused.
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

_PROMPT_SETTINGS = ("prompt", "dtype", "device", "quantize")
"""Settings of recipes that determine how items are rendered; a store of adapters uses the same
names."""


class MixtureSource:
    """Recipes and their pool, as a source of adapters."""

    def __init__(self, recipes: RecipeStore, pool: Pool) -> None:
        recipes.require_pool(pool)
        self.recipes, self.pool = recipes, pool
        self.folder, self.made_by_command = recipes.folder, recipes.made_by_command
        self.base, self.task = recipes.base, recipes.task
        self.base_name, self.base_source = recipes.base_name, recipes.base_source
        self.settings = {
            name: recipes.settings[name] for name in _PROMPT_SETTINGS if name in recipes.settings
        }
        self.check_compatible = recipes.check_compatible

    @property
    def people(self) -> tuple[str, ...]:
        """All people with a record, including those without pieces, sorted."""
        return self.recipes.people

    def get_record(self, person: str) -> RecipeRecord | None:
        """Return the record of a person's recipe, or None for an unknown person."""
        return self.recipes.get_record(person)

    def get_adapter(self, person: str) -> Adapter | None:
        """Build the adapter of a person's recipe, or return None if there is none; raises the same
        errors as ``build_adapter``."""
        # Sharers may have withdrawn since the pool was opened.
        self.pool.refresh_sharers()
        recipe = self.recipes.load_recipe(person)
        return build_adapter(recipe, self.pool) if recipe and recipe.sharers else None

    def get_quantization(self, person: str) -> str:
        """How the base was quantized on which the person's recipe was made."""
        return str(self.settings.get("quantize", "none"))

    def provenance(self, person: str) -> Mapping[str, Any]:
        """Return the pool and the sharers whose pieces make up a person's adapter."""
        recipe = self.recipes.load_recipe(person)
        return {"pool": self.pool.id, "sharers": list(recipe.sharers)} if recipe else {}


class CheckedAdapterStore(AdapterStore):
    """A store of adapters whose training started from pieces, with their pool available for
    checks."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        super().__init__(folder, AdapterStore.read_header(folder))
        self._pool = pool

    def get_adapter(self, person: str) -> Adapter | None:
        """Return a person's adapter. Raises MismatchError if a sharer of its pieces has
        withdrawn."""
        record = self.get_record(person)
        if record is not None:
            require_present(
                self._pool,
                record.sharers,
                f"{self.folder}: the adapter of {person!r}",
                self.made_by_command,
            )
        return super().get_adapter(person)


def require_present(pool: Pool, sharers: Sequence[str], what: str, command: str) -> None:
    """Raise MismatchError if a sharer of the pieces in ``what`` is no longer in the pool.

    ``command`` names the command that makes ``what``.
    """
    pool.refresh_sharers()
    present = set(pool.sharers)
    gone = [sharer for sharer in sharers if sharer not in present]
    if gone:
        raise MismatchError(
            f"{what} is made of pieces of sharer {gone[0]}, who is not in the pool {pool.folder} "
            f"any more; make it again: idiolect {command}"
        )


def open_source(folder: Path, pool: Path | None = None) -> AdapterSource:
    """Open the recipes or the store of adapters in a folder.

    ``pool``: the current folder of the pool, if it has moved. Raises MissingError if the folder
    holds neither, IntegrityError for foreign or changed files, MismatchError for another pool.
    """
    if (folder / RecipeStore.HEADER_FILE).is_file():
        return open_recipes(folder, pool)
    return open_store(folder, pool)


def open_recipes(folder: Path, pool: Path | None = None) -> MixtureSource:
    """Open recipes with their pool; raises the same errors as ``open_source``."""
    recipes = RecipeStore.open(folder)
    at = pool or folder / recipes.pool_source
    if pool is None and not (at / Pool.HEADER_FILE).is_file():
        raise MissingError(
            f"{folder}: the pool of its recipes is not in {at.resolve()} any more; pass "
            "its current folder: --pool FOLDER"
        )
    return MixtureSource(recipes, Pool.open(at))


def open_store(folder: Path, pool: Path | None = None) -> AdapterStore:
    """Open a store of adapters; raises the same errors as ``open_source``."""
    store = AdapterStore.open(folder)
    named = store.settings.get("pool")
    # A plain store: its adapters never used a pool.
    if not named:
        if pool is not None:
            raise UsageError(f"{folder}: its adapters are not made of pieces; leave out the pool")
        return store
    at = pool or folder / named["source"]
    # Without the pool the adapters still work; only the check for withdrawn sharers is lost.
    if not (at / Pool.HEADER_FILE).is_file() and pool is None:
        return store
    opened = Pool.open(at)
    # A different pool in that place is an error only if the caller named it.
    if opened.id == named["id"]:
        return CheckedAdapterStore(folder, opened)
    if pool is None:
        return store
    raise MismatchError(f"{folder}: made of pieces of the pool {named['id']}, not of {pool}")
