"""A recipe: whose pieces make a newcomer's adapter, and the adapter that they make.

Shapes: ``M`` sites of the pool, ``K`` pieces a site, ``R`` rank, ``D``/``O`` widths of a module in
and out.
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
    """Which sharers' pieces a person's adapter is made of, and how much of each."""

    person: str
    sharers: tuple[str, ...]
    """Those whose pieces are used, under their pseudonyms."""
    pick: Tensor
    """Numbers of sharers [M, K] (int64), sites in the pool's order; -1 for none."""
    weight: Tensor
    """What each piece is multiplied with [M, K], rounded to half precision as it is stored; 0 for
    none."""
    aggregate: Aggregate

    def __post_init__(self) -> None:
        assert self.pick.dim() == 2 and self.pick.shape == self.weight.shape
        assert sorted(set(self.pick.flatten().tolist()) - {-1}) == [*range(len(self.sharers))]
        assert torch.equal(self.weight, self.weight.half().to(self.weight.dtype))
        assert bool(self.weight.isfinite().all()) and not self.weight[self.pick < 0].any()


def make_empty_recipe(person: str, sites: int, aggregate: Aggregate) -> Recipe:
    """The recipe of somebody who gets no piece at any of the sites."""
    pick = torch.full((sites, 1), -1, dtype=torch.long)
    return Recipe(
        person=person, sharers=(), pick=pick, weight=torch.zeros(sites, 1), aggregate=aggregate
    )


def choose_lora_config(lora: LoraConfig, aggregate: Aggregate, pieces: int) -> LoraConfig:
    """The kind of adapter that recipes make of so many pieces a module, of a pool of that kind."""
    plain = replace(lora, dropout=0.0, shared_a=False)
    if aggregate == "factors":
        return plain
    rank = round_up_rank(pieces * lora.rank)
    return replace(plain, rank=rank, alpha=float(rank))


def build_adapter(recipe: Recipe, pool: Pool, *, room: int = 0) -> LoraAdapter:
    """The adapter of a recipe, on the pool's base, in fp32; with room for so many pieces a module.

    ``delta``: its update is sum_i w_i s B_i A_i, the pieces side by side, the rank padded with
    zeros to one that servers take, alpha = rank. ``factors``: s (sum_i w_i B_i) (sum_i w_i A_i), of
    the pool's own rank. Raises MismatchError where a sharer has withdrawn or the pool is another.
    """
    _require_same_pool(recipe, pool)
    config = choose_lora_config(pool.lora, recipe.aggregate, max(room, recipe.pick.shape[1]))
    rank = config.rank
    scale = pool.lora.scale if recipe.aggregate == "delta" else 1.0
    pieces = _load_pieces(recipe, pool)
    pairs: dict[str, Pair] = {}
    for site, pick, weight in zip(
        pool.modules, recipe.pick.tolist(), recipe.weight.tolist(), strict=True
    ):
        used = [(n, w) for n, w in zip(pick, weight, strict=True) if n >= 0]
        if not used:
            pairs[site.path] = (torch.zeros(rank, site.inputs), torch.zeros(site.outputs, rank))
            continue
        a, b = combine_pieces(
            [pieces[n, site.path] for n, _ in used],
            [w for _, w in used],
            scale,
            recipe.aggregate,
        )
        room = rank - len(a)
        pairs[site.path] = (pad(a, (0, 0, 0, room)), pad(b, (0, room)))
    return LoraAdapter(config=config, base=pool.base, pairs=pairs)


def _require_same_pool(recipe: Recipe, pool: Pool) -> None:
    there = set(pool.sharers)
    gone = [sharer for sharer in recipe.sharers if sharer not in there]
    if gone:
        raise MismatchError(
            f"the recipe of {recipe.person!r} uses pieces of sharer {gone[0]}, who is not in the "
            f"pool {pool.folder} any more; make it anew: idiolect assemble"
        )
    if len(recipe.pick) != len(pool.sites):
        raise MismatchError(
            f"the recipe of {recipe.person!r} is for {len(recipe.pick)} modules, the pool "
            f"{pool.folder} has {len(pool.sites)}; make it anew: idiolect assemble"
        )


def _load_pieces(recipe: Recipe, pool: Pool) -> dict[tuple[int, str], Pair]:
    """The pieces that are used, by sharer and site; each sharer's file is opened once."""
    out: dict[tuple[int, str], Pair] = {}
    for n, sharer in enumerate(recipe.sharers):
        wanted = (recipe.pick == n).any(dim=1).tolist()
        paths = [path for path, is_wanted in zip(pool.sites, wanted, strict=True) if is_wanted]
        out |= {(n, path): pair for path, pair in pool.load_pieces(sharer, paths).items()}
    return out
