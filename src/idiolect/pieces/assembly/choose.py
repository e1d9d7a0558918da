"""Chooses pieces and weights at one module from scores. Pure tensor code.

Shapes: ``P`` target users, ``S`` sharers, ``K`` chosen pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from idiolect.config import derive_seed
from idiolect.pieces.recipes.config import AssembleConfig

TIE_STEP = 1e-5
"""Scores within one step of this size are a tie, so that rounding does not choose."""

_TOP_P_TOLERANCE = 1e-9
"""Sums of weights within this distance of ``top_p`` have reached it; absorbs rounding."""


class TopK(NamedTuple):
    """The chosen pieces, best first."""

    pick: Tensor
    """Indices of sharers [P, K]; -1 for none."""
    weight: Tensor
    """The weight of each piece [P, K], fp64; 0 for none."""


def choose_pieces(
    scores_PS: Tensor, shared_S: Tensor, config: AssembleConfig, noise_PS: Tensor | None = None
) -> TopK:
    """Return the best pieces by scores [P, S], weighted by softmax(score / T) over the chosen
    ones.

    ``shared_S``: which sharers share this piece; others are never chosen. ``noise_PS``: from
    ``draw_gumbel_noise`` if pieces are sampled. Ties go to the sharer who comes first.
    """
    scores_PS = scores_PS.double() / config.temperature
    # A score of -inf gets weight 0 and is never chosen.
    scores_PS = scores_PS.masked_fill(~shared_S, -torch.inf)
    keys_PS = scores_PS if noise_PS is None else scores_PS + noise_PS
    count = min(config.top_k, scores_PS.shape[1])
    if config.top_p:
        count = scores_PS.shape[1]
    # Rank by scores rounded to steps. ``order`` is below 1, so it only breaks ties, by index.
    step = TIE_STEP / config.temperature
    order_S = torch.arange(scores_PS.shape[1], device=scores_PS.device) / scores_PS.shape[1]
    pick_PK = ((keys_PS / step).round() - order_S).topk(count, dim=1).indices
    found_PK = scores_PS.gather(1, pick_PK)
    # The noise decides which pieces are drawn; sort those by score.
    if noise_PS is not None:
        found_PK, best_PK = found_PK.sort(dim=1, descending=True, stable=True)
        pick_PK = pick_PK.gather(1, best_PK)
    if config.top_p:
        # Keep the shortest prefix of weights that reaches ``top_p``.
        weight_PK = _softmax_or_zeros(found_PK)
        kept_PK = weight_PK.cumsum(dim=1) - weight_PK < config.top_p - _TOP_P_TOLERANCE
        found_PK = found_PK.masked_fill(~kept_PK, -torch.inf)
        widest = int(kept_PK.sum(dim=1).max())
        pick_PK, found_PK = pick_PK[:, :widest], found_PK[:, :widest]
    return TopK(pick_PK.masked_fill(found_PK.isneginf(), -1), _softmax_or_zeros(found_PK))


def _softmax_or_zeros(scores_PK: Tensor) -> Tensor:
    """Softmax over the last dimension; zeros for a row without any piece."""
    return scores_PK.softmax(dim=1).nan_to_num(0.0)


def draw_gumbel_noise(people: Sequence[str], path: str, sharers: int, seed: int) -> Tensor:
    """Return Gumbel noise [P, S]; taking the top K of score + noise samples without replacement.

    The Gumbel top-k trick; Kool et al., 2019. A person's noise depends only on (seed, person,
    path).
    """
    rows: list[Tensor] = []
    for person in people:
        generator = torch.Generator().manual_seed(derive_seed(seed, person, path, "assemble"))
        # Clamp away from 0, whose logarithm is infinite.
        uniform_S = torch.rand(sharers, generator=generator, dtype=torch.float64)
        rows.append(-(-uniform_S.clamp_min(1e-300).log()).log())
    return torch.stack(rows)
