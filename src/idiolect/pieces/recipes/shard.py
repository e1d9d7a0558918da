"""One shard of recipes on disk: the recipes of some people.

``NNNNNN.safetensors`` holds ``pick`` [U, M, K], indices into the shard's own list of sharers, -1
for none, and ``weight`` [U, M, K] in half precision. ``NNNNNN.json`` holds that list and the person
of each row. This module does not access the store's other shards.

Shapes: ``U`` people of the shard, ``M`` modules, ``K`` pieces per module (the maximum over the
shard's people).
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
    """The store's record of one person's recipe."""

    person: str
    made_by: str
    """Fingerprint of everything that determines the recipe: settings, pool, history."""
    served: Served = "adapter"
    """``adapter``, or why there is none. ``no usable item``: the base serves this person.
    ``withdrawn``: a sharer of their pieces withdrew, and the person is not served until they are
    assembled again."""
    items: int = 0
    """Number of items of the history that were used."""
    history: str = ""
    """Fingerprint of the person's whole history."""
    row: int = 0


@dataclass(frozen=True, slots=True)
class RecipeShard(Shard[RecipeRecord]):
    """A shard's records, the sharers whose pieces its recipes use, and how pieces are
    aggregated."""

    sharers: tuple[str, ...]
    aggregate: Aggregate


def write_recipes(
    folder: Path, number: int, entries: Sequence[tuple[RecipeRecord, Recipe]]
) -> RecipeShard:
    """Write some people's recipes as one shard. After this returns they are durably on disk.

    All recipes must have the same ``aggregate``.
    """
    recipes = [recipe for _, recipe in entries]
    aggregate = recipes[0].aggregate
    assert all(recipe.aggregate == aggregate for recipe in recipes)
    sharers = tuple(sorted({sharer for recipe in recipes for sharer in recipe.sharers}))
    position = {sharer: n for n, sharer in enumerate(sharers)}
    sites, widest = len(recipes[0].pick), max(recipe.pick.shape[1] for recipe in recipes)
    # Recipes have different widths K: pad them to the widest, in the narrowest index type.
    index_dtype = torch.int16 if len(sharers) <= torch.iinfo(torch.int16).max else torch.int32
    pick_UMK = torch.full((len(recipes), sites, widest), -1, dtype=index_dtype)
    weight_UMK = torch.zeros(len(recipes), sites, widest, dtype=torch.float16)
    for row, recipe in enumerate(recipes):
        # The recipe's own indices become indices into the shard's list; -1 selects the last entry.
        indices = torch.tensor([*(position[sharer] for sharer in recipe.sharers), -1])
        pick_UMK[row, :, : recipe.pick.shape[1]] = indices[recipe.pick]
        weight_UMK[row, :, : recipe.pick.shape[1]] = recipe.weight
    target = get_tensors_path(folder, number)
    write_atomic(target, save({"pick": pick_UMK, "weight": weight_UMK}, metadata={"format": "pt"}))
    records = tuple(replace(record, row=row) for row, (record, _) in enumerate(entries))
    shard = RecipeShard(number, sha256_file(target), records, sharers, aggregate)
    content = {
        "sha256": shard.sha256,
        "sharers": sharers,
        "aggregate": aggregate,
        "records": [asdict(record) for record in records],
    }
    # Commit: the tensors count only once the records name them.
    write_json(get_records_path(folder, number), content)
    return shard


def read_recipes(path: Path) -> RecipeShard:
    """Read a shard's records. Raises IntegrityError if the file holds none."""
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
        raise IntegrityError(f"{path}: not a file of recipe records ({error})") from error


def read_max_pieces(path: Path) -> int:
    """Return the number of pieces per module that a shard has room for. Raises IntegrityError."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice("pick").get_shape()[2])
    except (SafetensorError, OSError, IndexError) as error:
        raise IntegrityError(f"{path}: not a readable file of recipes ({error})") from error


def read_recipe(path: Path, shard: RecipeShard, record: RecipeRecord) -> Recipe:
    """Read one person's recipe from a shard. Raises IntegrityError."""
    try:
        with safe_open(path, framework="pt") as file:
            row = slice(record.row, record.row + 1)
            pick_MK = file.get_slice("pick")[row][0].long()
            weight_MK = file.get_slice("weight")[row][0].float()
    except (SafetensorError, OSError, IndexError) as error:
        raise IntegrityError(f"{path}: not a readable file of recipes ({error})") from error
    # Undo the shard's padding, and turn indices into the shard's list of sharers into indices
    # into the recipe's own list. ``number`` has an extra last entry, so that -1 stays -1.
    wide = max([1, *((pick_MK >= 0).any(dim=0).nonzero().flatten() + 1).tolist()])
    used = sorted(set(pick_MK.flatten().tolist()) - {-1})
    number = torch.full((len(shard.sharers) + 1,), -1)
    number[torch.tensor(used, dtype=torch.long)] = torch.arange(len(used))
    return Recipe(
        person=record.person,
        sharers=tuple(shard.sharers[n] for n in used),
        pick=number[pick_MK[:, :wide]],
        weight=weight_MK[:, :wide].clone(),
        aggregate=shard.aggregate,
    )
