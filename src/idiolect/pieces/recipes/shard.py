"""One shard of recipes on disk: what some people's adapters are made of.

``NNNNNN.safetensors`` holds ``pick`` [U, M, K], numbers in the shard's own list of sharers, -1 for
none, and ``weight`` [U, M, K] in half precision; ``NNNNNN.json`` that list, and who is in which
row. Knows nothing of the store's other shards.

Shapes: ``U`` people of the shard, ``M`` sites, ``K`` pieces a site (the most that anybody has).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from idiolect.adapters.store.shard_index import Shard, get_records_path, get_tensors_path
from idiolect.errors import IntegrityError
from idiolect.pieces.recipes.config import Aggregate
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.storage.files import read_json, sha256_file, write_atomic, write_json

Served = Literal["adapter", "no usable item", "withdrawn"]
NO_USABLE_ITEM: Served = "no usable item"
WITHDRAWN: Served = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord:
    """What the store knows of one person's recipe."""

    person: str
    made_by: str
    """Fingerprint of everything the recipe follows from: settings, pool, history."""
    served: Served = "adapter"
    """``adapter``, or why there is none: the base serves who has no usable item; ``withdrawn`` is
    who had pieces of a sharer who left, and nobody serves them until they are assembled anew."""
    items: int = 0
    """Items of the history that were looked at."""
    history: str = ""
    """Fingerprint of those items."""
    row: int = 0


@dataclass(frozen=True, slots=True)
class RecipeShard(Shard[RecipeRecord]):
    """A shard's records, whose pieces its recipes use, and how they are put together."""

    sharers: tuple[str, ...]
    aggregate: Aggregate


def write_recipes(
    folder: Path, number: int, entries: Sequence[tuple[RecipeRecord, Recipe]]
) -> RecipeShard:
    """Write some people's recipes as one shard: after it returns they are on disk for good."""
    recipes = [recipe for _, recipe in entries]
    aggregate = recipes[0].aggregate
    assert all(recipe.aggregate == aggregate for recipe in recipes)
    sharers = tuple(sorted({sharer for recipe in recipes for sharer in recipe.sharers}))
    place = {sharer: n for n, sharer in enumerate(sharers)}
    sites, widest = len(recipes[0].pick), max(recipe.pick.shape[1] for recipe in recipes)
    narrow = torch.int16 if len(sharers) <= torch.iinfo(torch.int16).max else torch.int32
    pick = torch.full((len(recipes), sites, widest), -1, dtype=narrow)
    weight = torch.zeros(len(recipes), sites, widest, dtype=torch.float16)
    for row, recipe in enumerate(recipes):
        places = torch.tensor([*(place[sharer] for sharer in recipe.sharers), -1])
        pick[row, :, : recipe.pick.shape[1]] = places[recipe.pick]  # -1 is the last one
        weight[row, :, : recipe.pick.shape[1]] = recipe.weight
    target = get_tensors_path(folder, number)
    write_atomic(target, save({"pick": pick, "weight": weight}, metadata={"format": "pt"}))
    records = tuple(replace(record, row=row) for row, (record, _) in enumerate(entries))
    shard = RecipeShard(number, sha256_file(target), records, sharers, aggregate)
    content = {
        "sha256": shard.sha256,
        "sharers": sharers,
        "aggregate": aggregate,
        "records": [asdict(record) for record in records],
    }
    write_json(get_records_path(folder, number), content)
    return shard


def read_recipes(path: Path) -> RecipeShard:
    """Read a shard's records; raises IntegrityError where they are no records."""
    content = read_json(path)
    try:
        records = tuple(RecipeRecord(**record) for record in content["records"])
        sharers = tuple(map(str, content["sharers"]))
        if content["aggregate"] not in ("delta", "factors"):
            raise TypeError(f"aggregate {content['aggregate']!r}")
        return RecipeShard(
            int(path.stem), str(content["sha256"]), records, sharers, content["aggregate"]
        )
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not the records of recipes ({error})") from error


def read_max_pieces(path: Path) -> int:
    """Room for so many pieces a module in a shard; raises IntegrityError."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice("pick").get_shape()[2])
    except (SafetensorError, OSError, IndexError) as error:
        raise IntegrityError(f"{path}: not a readable file of recipes ({error})") from error


def read_recipe(path: Path, shard: RecipeShard, record: RecipeRecord) -> Recipe:
    """One person's recipe out of a shard; raises IntegrityError."""
    try:
        with safe_open(path, framework="pt") as file:
            row = slice(record.row, record.row + 1)
            pick = file.get_slice("pick")[row][0].long()
            weight = file.get_slice("weight")[row][0].float()
    except (SafetensorError, OSError, IndexError) as error:
        raise IntegrityError(f"{path}: not a readable file of recipes ({error})") from error
    wide = max([1, *((pick >= 0).any(dim=0).nonzero().flatten() + 1).tolist()])
    used = sorted(set(pick.flatten().tolist()) - {-1})
    number = torch.full((len(shard.sharers) + 1,), -1)
    number[torch.tensor(used, dtype=torch.long)] = torch.arange(len(used))
    return Recipe(
        person=record.person,
        sharers=tuple(shard.sharers[n] for n in used),
        pick=number[pick[:, :wide]],
        weight=weight[:, :wide].clone(),
        aggregate=shard.aggregate,
    )
