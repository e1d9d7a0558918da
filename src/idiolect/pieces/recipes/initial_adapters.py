"""Initial adapters for training, assembled from each person's recipe.

All of them have the same kind, so that they fit into one store. This module depends on recipes
and their pool; it does not train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.store.source import WITHDRAWN
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import compute_fingerprint
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.pieces.recipes.config import Aggregate
from idiolect.pieces.recipes.recipe import build_adapter, choose_lora_config
from idiolect.pieces.recipes.sources import open_recipes, require_present
from idiolect.training.runs.plan import PersonalConfig, PoolReference

_MAX_NAMED_PEOPLE = 5
"""Maximum number of people that an error message names."""


class MixtureInitialAdapters:
    """The initial adapter of each person, built from their recipe in a folder of recipes."""

    def __init__(self, folder: Path) -> None:
        opened = open_recipes(folder)
        self.folder, self.recipes, self.pool = folder, opened.recipes, opened.pool
        aggregates = self.recipes.aggregates
        if len(aggregates) > 1:
            raise MismatchError(
                f"{folder}: holds recipes of two kinds ({' and '.join(sorted(aggregates))}); "
                "assemble all people with the same assemble.aggregate"
            )
        self._max_pieces = self.recipes.max_pieces
        aggregate: Aggregate = "factors" if "factors" in aggregates else "delta"
        self.lora: LoraConfig = choose_lora_config(self.pool.lora, aggregate, self._max_pieces)
        """The common LoRA configuration of all these adapters."""

    def require_all(self, people: Sequence[str]) -> None:
        """Check that each of these people has a usable recipe.

        Raises MissingError if a person was not assembled, MismatchError if a sharer of their pieces
        has withdrawn since.
        """
        missing, stale = self.find_missing(people), self.find_stale(people)
        if missing:
            raise MissingError(
                f"{self.folder}: no recipe for {_format_people(missing)}, so their training has no "
                "initial adapter; make the recipes first (idiolect assemble), or leave these "
                "people out"
            )
        if stale:
            raise MismatchError(
                f"{self.folder}: the recipe of {_format_people(stale)} used pieces of a sharer "
                "who has withdrawn; make it again: idiolect assemble"
            )

    def find_missing(self, people: Sequence[str]) -> list[str]:
        """Return those of the people who were not assembled."""
        return [person for person in people if self.recipes.get_record(person) is None]

    def find_stale(self, people: Sequence[str]) -> list[str]:
        """Return those of the people whose recipe used pieces that are no longer in the pool."""
        present = set(self.pool.sharers)
        stale: list[str] = []
        for person in people:
            record = self.recipes.get_record(person)
            was_removed = record is not None and record.served == WITHDRAWN
            if was_removed or not set(self.list_sharers(person)) <= present:
                stale.append(person)
        return stale

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Raise MismatchError if a sharer of an adapter's pieces is no longer in the pool."""
        require_present(self.pool, sharers, f"the adapter of {person!r}", "personalize")

    def compute_fingerprint(self, person: str) -> str:
        """Return a fingerprint of the recipe: which pieces of the pool, and the weight of each."""
        recipe = self.recipes.load_recipe(person)
        if recipe is None:
            return ""
        # The weights as stored, so that the fingerprint follows the adapter exactly.
        numbers = [recipe.pick.tolist(), recipe.weight.tolist()]
        return compute_fingerprint([self.pool.id, recipe.sharers, recipe.aggregate, *numbers])

    def list_sharers(self, person: str) -> tuple[str, ...]:
        """Return the sharers whose pieces the recipe uses."""
        recipe = self.recipes.load_recipe(person)
        return recipe.sharers if recipe else ()

    def get_adapter(self, person: str) -> LoraAdapter:
        """Build the adapter of the person's recipe. Raises MissingError if the recipe has no
        pieces."""
        recipe = self.recipes.load_recipe(person)
        if recipe is None or not recipe.sharers:
            raise MissingError(
                f"{self.folder}: {person!r} had no usable item when recipes were made, so their "
                "training has no initial adapter; assemble them again"
            )
        return build_adapter(recipe, self.pool, room=self._max_pieces)


def set_start_recipes(config: PersonalConfig, recipes: Path, store: Path) -> PersonalConfig:
    """Return the settings for training into ``store`` from ``recipes``: LoRA of the recipes' kind,
    with a reference to the pool.

    Raises UsageError if the settings ask for another kind of LoRA.
    """
    starts = MixtureInitialAdapters(recipes)
    lora = replace(starts.lora, dropout=config.lora.dropout)
    # Default LoRA settings mean "not chosen" and follow the recipes; dropout is free.
    if replace(config.lora, dropout=0.0) != LoraConfig() and not config.lora.is_same_kind(lora):
        raise UsageError(
            f"lora: adapters that start from the recipes in {recipes} have their kind "
            f"({lora.description}), but {config.lora.description} was requested; leave out the "
            "lora settings"
        )
    named = PoolReference(
        id=starts.pool.id,
        source=starts.pool.get_relative_path(store),
        recipes=starts.recipes.get_relative_path(store),
    )
    return replace(config, lora=lora, pool=named)


def require_not_from_pieces(store: Path) -> None:
    """Raise UsageError if the people of a store start from recipes, for a call that names no
    recipes."""
    if not (store / AdapterStore.HEADER_FILE).is_file():
        return
    named = AdapterStore.open(store).settings.get("pool")
    if named:
        raise UsageError(
            f"{store}: training into it starts from the recipes in "
            f"{(store / named['recipes']).resolve()}; pass them (--pieces), or name another store"
        )


def _format_people(people: Sequence[str]) -> str:
    more = f" and {len(people) - _MAX_NAMED_PEOPLE} more" if len(people) > _MAX_NAMED_PEOPLE else ""
    return f"{', '.join(map(repr, people[:_MAX_NAMED_PEOPLE]))}{more}"
