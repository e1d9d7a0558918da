"""Training that starts from pieces: each person from the adapter that their recipe makes.

All of one kind, so that they fit into one store. Knows recipes and their pool; trains nobody.
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
"""People that an error names."""


class MixtureInitialAdapters:
    """Everyone's start, made of their recipe in a folder."""

    def __init__(self, folder: Path) -> None:
        opened = open_recipes(folder)
        self.folder, self.recipes, self.pool = folder, opened.recipes, opened.pool
        aggregates = self.recipes.aggregates
        if len(aggregates) > 1:
            raise MismatchError(
                f"{folder}: holds recipes of two kinds ({' and '.join(sorted(aggregates))}); "
                "assemble everyone in the same way"
            )
        self._max_pieces = self.recipes.max_pieces
        aggregate: Aggregate = "factors" if "factors" in aggregates else "delta"
        self.lora: LoraConfig = choose_lora_config(self.pool.lora, aggregate, self._max_pieces)
        """The kind of all of them."""

    def require_all(self, people: Sequence[str]) -> None:
        """Raise MissingError where somebody was not assembled, MismatchError where a sharer of
        their pieces has withdrawn since."""
        lacking, stale = self.find_missing(people), self.find_stale(people)
        if lacking:
            raise MissingError(
                f"{self.folder}: no recipe of {_format_people(lacking)}, so their training has "
                "no start; "
                "make them first (idiolect assemble), or leave these people out"
            )
        if stale:
            raise MismatchError(
                f"{self.folder}: the recipe of {_format_people(stale)} used pieces of somebody "
                "who has "
                "withdrawn; make it anew: idiolect assemble"
            )

    def find_missing(self, people: Sequence[str]) -> list[str]:
        """Those of the people who were not assembled."""
        return [person for person in people if self.recipes.get_record(person) is None]

    def find_stale(self, people: Sequence[str]) -> list[str]:
        """Those of the people whose recipe used pieces that are not in the pool any more."""
        there = set(self.pool.sharers)
        return [
            person
            for person in people
            if self._is_withdrawn(person) or not set(self.list_sharers(person)) <= there
        ]

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Raise MismatchError where a sharer of an adapter's pieces is not in the pool any more."""
        require_present(self.pool, sharers, f"the adapter of {person!r}", "personalize")

    def compute_fingerprint(self, person: str) -> str:
        """A fingerprint of the recipe: which pieces of the pool, and how much of each."""
        recipe = self.recipes.load_recipe(person)
        if recipe is None:
            return ""
        numbers = [recipe.pick.tolist(), recipe.weight.tolist()]
        return compute_fingerprint([self.pool.id, recipe.sharers, recipe.aggregate, *numbers])

    def list_sharers(self, person: str) -> tuple[str, ...]:
        """Whose pieces the recipe uses."""
        recipe = self.recipes.load_recipe(person)
        return recipe.sharers if recipe else ()

    def get_adapter(self, person: str) -> LoraAdapter:
        """What the recipe makes; raises MissingError where it is of nothing."""
        recipe = self.recipes.load_recipe(person)
        if recipe is None or not recipe.sharers:
            raise MissingError(
                f"{self.folder}: {person!r} had no usable item when recipes were made, so their "
                "training has no start; assemble them again"
            )
        return build_adapter(recipe, self.pool, room=self._max_pieces)

    def _is_withdrawn(self, person: str) -> bool:
        record = self.recipes.get_record(person)
        return record is not None and record.served == WITHDRAWN


def set_start_recipes(config: PersonalConfig, recipes: Path, store: Path) -> PersonalConfig:
    """The settings of training into a store from recipes: adapters of their kind, the pool named.

    Raises UsageError where the settings ask for adapters of another kind.
    """
    starts = MixtureInitialAdapters(recipes)
    lora = replace(starts.lora, dropout=config.lora.dropout)
    if replace(config.lora, dropout=0.0) != LoraConfig() and not config.lora.is_same_kind(lora):
        raise UsageError(
            f"lora: adapters that start from the recipes in {recipes} are of their kind "
            f"({lora.description}), asked for is {config.lora.description}; leave lora settings out"
        )
    named = PoolReference(
        id=starts.pool.id,
        source=starts.pool.get_relative_path(store),
        recipes=starts.recipes.get_relative_path(store),
    )
    return replace(config, lora=lora, pool=named)


def require_not_from_pieces(store: Path) -> None:
    """Raise UsageError where a store's people start from recipes, and none are named."""
    if not (store / AdapterStore.HEADER_FILE).is_file():
        return
    named = AdapterStore.open(store).settings.get("pool")
    if named:
        raise UsageError(
            f"{store}: training into it starts from the recipes in "
            f"{(store / named['recipes']).resolve()}; name them (--pieces), or another store"
        )


def _format_people(people: Sequence[str]) -> str:
    more = f" and {len(people) - _MAX_NAMED_PEOPLE} more" if len(people) > _MAX_NAMED_PEOPLE else ""
    return f"{', '.join(map(repr, people[:_MAX_NAMED_PEOPLE]))}{more}"
