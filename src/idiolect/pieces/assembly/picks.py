"""The pieces chosen at each module, as they are stored, and the recipe they make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.pieces.assembly.choose import TopK
from idiolect.pieces.recipes.config import Aggregate
from idiolect.pieces.recipes.recipe import Recipe

Pick = tuple[tuple[int, float], ...]
"""One target user's pieces at one module: indices of sharers in the pool, and their weights."""


def to_picks(chosen: TopK) -> list[Pick]:
    """Return each target user's pieces, with weights rounded as a recipe stores them.

    The rounding makes later modules see now exactly what is served later.
    """
    # To half precision and back: the values that a recipe stores.
    weights = chosen.weight.half().double().tolist()
    return [
        tuple((n, w) for n, w in zip(row, theirs, strict=True) if n >= 0)
        for row, theirs in zip(chosen.pick.tolist(), weights, strict=True)
    ]


def build_recipe(
    person: str, picks: Sequence[Pick], sharers: Sequence[str], aggregate: Aggregate
) -> Recipe:
    """Build one target user's recipe from the pieces at every module, in the pool's order of
    modules.

    ``sharers``: those of the pool.
    """
    # The recipe lists only the sharers it uses; renumber the pool's indices accordingly.
    used = sorted({n for pick in picks for n, _ in pick})
    number = {n: at for at, n in enumerate(used)}
    widest = max(1, *map(len, picks))  # at least one column, also without any piece
    pick = torch.full((len(picks), widest), -1, dtype=torch.long)
    weight: Tensor = torch.zeros(len(picks), widest)
    for site, user_picks in enumerate(picks):
        for column, (n, w) in enumerate(user_picks):
            pick[site, column], weight[site, column] = number[n], w
    return Recipe(
        person=person,
        sharers=tuple(sharers[n] for n in used),
        pick=pick,
        weight=weight,
        aggregate=aggregate,
    )
