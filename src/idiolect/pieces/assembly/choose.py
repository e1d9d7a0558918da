"""From scores to pieces and weights at one module: numbers in, numbers out.

Shapes: ``P`` newcomers, ``S`` sharers, ``K`` pieces chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from idiolect.config import derive_seed
from idiolect.pieces.recipes.config import AssembleConfig

TIE_STEP = 1e-5
"""Scores in the same step of this size are a tie: what rounding does to them must not choose."""

_TOP_P_TOLERANCE = 1e-9
"""Weights that lack no more than this have reached ``top_p``: sums of them are rounded."""


class TopK(NamedTuple):
    """The chosen pieces, best first."""

    pick: Tensor
    """Positions of sharers [P, K], -1 for none."""
    weight: Tensor
    """What each is multiplied with [P, K], fp64; 0 for none."""


def choose_pieces(
    scores: Tensor, shared: Tensor, config: AssembleConfig, noise: Tensor | None = None
) -> TopK:
    """The best pieces by scores [P, S], weighted by softmax(score / T) over those chosen.

    ``shared``: who shares this piece [S]; others are never chosen. ``noise`` [P, S]: as ``drawn``
    gives it where pieces are sampled. A tie goes to the sharer who stands first.
    """
    scores = scores.double() / config.temperature
    scores = scores.masked_fill(~shared, -torch.inf)
    keys = scores if noise is None else scores + noise
    count = min(config.top_k, scores.shape[1])
    if config.top_p:
        count = scores.shape[1]
    step = TIE_STEP / config.temperature
    order = torch.arange(scores.shape[1], device=scores.device) / scores.shape[1]
    pick = ((keys / step).round() - order).topk(count, dim=1).indices
    found = scores.gather(1, pick)
    if noise is not None:
        found, best = found.sort(dim=1, descending=True, stable=True)
        pick = pick.gather(1, best)
    if config.top_p:
        weight = _softmax_or_zeros(found)
        kept = weight.cumsum(dim=1) - weight < config.top_p - _TOP_P_TOLERANCE
        found = found.masked_fill(~kept, -torch.inf)
        widest = int(kept.sum(dim=1).max())
        pick, found = pick[:, :widest], found[:, :widest]
    return TopK(pick.masked_fill(found.isneginf(), -1), _softmax_or_zeros(found))


def _softmax_or_zeros(scores: Tensor) -> Tensor:
    """Along the last dimension; zeros where nobody is left."""
    return scores.softmax(dim=1).nan_to_num(0.0)


def draw_gumbel_noise(people: Sequence[str], path: str, sharers: int, seed: int) -> Tensor:
    """Noise [P, S] that turns the best into a draw without putting back (Gumbel's top-k trick; Kool
    et al., 2019). A person's depends on (seed, person, path) alone."""
    rows: list[Tensor] = []
    for person in people:
        generator = torch.Generator().manual_seed(derive_seed(seed, person, path, "assemble"))
        uniform = torch.rand(sharers, generator=generator, dtype=torch.float64)
        rows.append(-(-uniform.clamp_min(1e-300).log()).log())
    return torch.stack(rows)
