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
from idiolect.config import fingerprint
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.pieces.recipes.config import Aggregate
from idiolect.pieces.recipes.recipe import kind_of, materialise
from idiolect.pieces.recipes.sources import open_recipes, require_present
from idiolect.training.runs.plan import FromPool, PersonalConfig

_NAMED = 5
"""People that an error names."""


class AssembledStarts:
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
        self._wide = self.recipes.widest
        aggregate: Aggregate = "factors" if "factors" in aggregates else "delta"
        self.lora: LoraConfig = kind_of(self.pool.lora, aggregate, self._wide)
        """The kind of all of them."""

    def require_all(self, people: Sequence[str]) -> None:
        """Raise MissingError where somebody was not assembled, MismatchError where a sharer of
        their pieces has withdrawn since."""
        lacking, stale = self.lacking(people), self.stale(people)
        if lacking:
            raise MissingError(
                f"{self.folder}: no recipe of {_named(lacking)}, so their training has no start; "
                "make them first (idiolect assemble), or leave these people out"
            )
        if stale:
            raise MismatchError(
                f"{self.folder}: the recipe of {_named(stale)} used pieces of somebody who has "
                "withdrawn; make it anew: idiolect assemble"
            )

    def lacking(self, people: Sequence[str]) -> list[str]:
        """Those of the people who were not assembled."""
        return [person for person in people if self.recipes.record(person) is None]

    def stale(self, people: Sequence[str]) -> list[str]:
        """Those of the people whose recipe used pieces that are not in the pool any more."""
        there = set(self.pool.sharers)
        return [
            person
            for person in people
            if self._withdrawn(person) or not set(self.sharers(person)) <= there
        ]

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Raise MismatchError where a sharer of an adapter's pieces is not in the pool any more."""
        require_present(self.pool, sharers, f"the adapter of {person!r}", "personalize")

    def origin(self, person: str) -> str:
        """A fingerprint of the recipe: which pieces of the pool, and how much of each."""
        recipe = self.recipes.recipe(person)
        if recipe is None:
            return ""
        numbers = [recipe.pick.tolist(), recipe.weight.tolist()]
        return fingerprint([self.pool.id, recipe.sharers, recipe.aggregate, *numbers])

    def sharers(self, person: str) -> tuple[str, ...]:
        """Whose pieces the recipe uses."""
        recipe = self.recipes.recipe(person)
        return recipe.sharers if recipe else ()

    def adapter(self, person: str) -> LoraAdapter:
        """What the recipe makes; raises MissingError where it is of nothing."""
        recipe = self.recipes.recipe(person)
        if recipe is None or not recipe.sharers:
            raise MissingError(
                f"{self.folder}: {person!r} had no usable item when recipes were made, so their "
                "training has no start; assemble them again"
            )
        return materialise(recipe, self.pool, room=self._wide)

    def _withdrawn(self, person: str) -> bool:
        record = self.recipes.record(person)
        return record is not None and record.served == WITHDRAWN


def starting_from_recipes(config: PersonalConfig, recipes: Path, store: Path) -> PersonalConfig:
    """The settings of training into a store from recipes: adapters of their kind, the pool named.

    Raises UsageError where the settings ask for adapters of another kind.
    """
    starts = AssembledStarts(recipes)
    lora = replace(starts.lora, dropout=config.lora.dropout)
    if replace(config.lora, dropout=0.0) != LoraConfig() and not config.lora.same_kind(lora):
        raise UsageError(
            f"lora: adapters that start from the recipes in {recipes} are of their kind "
            f"({lora.described}), asked for is {config.lora.described}; leave lora settings out"
        )
    named = FromPool(
        id=starts.pool.id,
        source=starts.pool.seen_from(store),
        recipes=starts.recipes.seen_from(store),
    )
    return replace(config, lora=lora, pool=named)


def require_not_from_pieces(store: Path) -> None:
    """Raise UsageError where a store's people start from recipes, and none are named."""
    if not (store / AdapterStore.HEAD).is_file():
        return
    named = AdapterStore.open(store).settings.get("pool")
    if named:
        raise UsageError(
            f"{store}: training into it starts from the recipes in "
            f"{(store / named['recipes']).resolve()}; name them (--pieces), or another store"
        )


def _named(people: Sequence[str]) -> str:
    more = f" and {len(people) - _NAMED} more" if len(people) > _NAMED else ""
    return f"{', '.join(map(repr, people[:_NAMED]))}{more}"
