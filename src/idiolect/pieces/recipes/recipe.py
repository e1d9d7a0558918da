"""A recipe: the sharers and weights that make up a target user's adapter, and building that
adapter.

Shapes: ``M`` modules of the pool, ``K`` pieces per module, ``R`` rank, ``D``/``O`` input and output
widths of a module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from idiolect.adapters.arithmetic.concat import round_up_rank
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import MismatchError
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.combine import Pair, combine_pieces
from idiolect.pieces.recipes.config import Aggregate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """The sharers whose pieces make up a person's adapter, and the weight of each piece."""

    person: str
    sharers: tuple[str, ...]
    """The sharers whose pieces are used, by pseudonym."""
    pick: Tensor
    """Indices into ``sharers`` [M, K] (int64), modules in the pool's order; -1 for none."""
    weight: Tensor
    """The weight of each piece [M, K], rounded to half precision as it is stored; 0 for none."""
    aggregate: Aggregate

    def __post_init__(self) -> None:
        assert self.pick.dim() == 2 and self.pick.shape == self.weight.shape
        assert sorted(set(self.pick.flatten().tolist()) - {-1}) == [*range(len(self.sharers))]
        assert torch.equal(self.weight, self.weight.half().to(self.weight.dtype))
        assert bool(self.weight.isfinite().all()) and not self.weight[self.pick < 0].any()


def make_empty_recipe(person: str, sites: int, aggregate: Aggregate) -> Recipe:
    """Return the recipe of a person who gets no piece for any module."""
    pick = torch.full((sites, 1), -1, dtype=torch.long)
    return Recipe(
        person=person, sharers=(), pick=pick, weight=torch.zeros(sites, 1), aggregate=aggregate
    )


def choose_lora_config(lora: LoraConfig, aggregate: Aggregate, pieces: int) -> LoraConfig:
    """Return the LoRA configuration of adapters built from recipes with up to ``pieces`` pieces
    per module, for a pool with configuration ``lora``."""
    plain = replace(lora, dropout=0.0, shared_a=False)
    if aggregate == "factors":
        return plain
    # Concatenated pieces need their summed rank; servers accept only some ranks.
    rank = round_up_rank(pieces * lora.rank)
    return replace(plain, rank=rank, alpha=float(rank))


def build_adapter(recipe: Recipe, pool: Pool, *, room: int = 0) -> LoraAdapter:
    """Build the adapter of a recipe on the pool's base, in fp32, with rank for at least ``room``
    pieces per module.

    ``delta``: the update is sum_i w_i s B_i A_i; the pieces' factors are concatenated, the rank is
    zero-padded to a rank that servers accept, and alpha = rank. ``factors``: s (sum_i w_i B_i)
    (sum_i w_i A_i), of the pool's own rank. Raises MismatchError if a sharer has withdrawn or the
    recipe is for another pool.
    """
    _require_same_pool(recipe, pool)
    config = choose_lora_config(pool.lora, recipe.aggregate, max(room, recipe.pick.shape[1]))
    rank = config.rank
    # For ``delta``, alpha = rank gives a scale of 1, so the pool's scale is folded into B. For
    # ``factors``, the adapter keeps the pool's configuration, which applies the scale itself.
    scale = pool.lora.scale if recipe.aggregate == "delta" else 1.0
    pieces = _load_pieces(recipe, pool)
    pairs: dict[str, Pair] = {}
    for module, pick, weight in zip(
        pool.modules, recipe.pick.tolist(), recipe.weight.tolist(), strict=True
    ):
        used = [(n, w) for n, w in zip(pick, weight, strict=True) if n >= 0]
        if not used:
            pairs[module.path] = (
                torch.zeros(rank, module.inputs),
                torch.zeros(module.outputs, rank),
            )
            continue
        a, b = combine_pieces(
            [pieces[n, module.path] for n, _ in used],
            [w for _, w in used],
            scale,
            recipe.aggregate,
        )
        # Zero rows of A and zero columns of B pad the rank and add nothing to the update.
        room = rank - len(a)
        pairs[module.path] = (pad(a, (0, 0, 0, room)), pad(b, (0, room)))
    return LoraAdapter(config=config, base=pool.base, pairs=pairs)


def _require_same_pool(recipe: Recipe, pool: Pool) -> None:
    present = set(pool.sharers)
    gone = [sharer for sharer in recipe.sharers if sharer not in present]
    if gone:
        raise MismatchError(
            f"the recipe of {recipe.person!r} uses pieces of sharer {gone[0]}, who is not in the "
            f"pool {pool.folder} any more; make it again: idiolect assemble"
        )
    if len(recipe.pick) != len(pool.sites):
        raise MismatchError(
            f"the recipe of {recipe.person!r} is for {len(recipe.pick)} modules, the pool "
            f"{pool.folder} has {len(pool.sites)}; make it again: idiolect assemble"
        )


def _load_pieces(recipe: Recipe, pool: Pool) -> dict[tuple[int, str], Pair]:
    """Return the pieces in use, by index of the sharer and module. Opens each sharer's file
    once."""
    out: dict[tuple[int, str], Pair] = {}
    for n, sharer in enumerate(recipe.sharers):
        # Only the modules for which this sharer's piece is used.
        wanted = (recipe.pick == n).any(dim=1).tolist()
        paths = [path for path, is_wanted in zip(pool.sites, wanted, strict=True) if is_wanted]
        out |= {(n, path): pair for path, pair in pool.load_pieces(sharer, paths).items()}
    return out
