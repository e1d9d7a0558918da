"""Several weighted pieces of one module as one pair A, B; numbers in, numbers out.

Shapes: ``K`` pieces, ``R`` rank, ``D``/``O`` widths of the module in and out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.pieces.recipes.config import Aggregate

Pair = tuple[Tensor, Tensor]


def combine_pieces(
    pieces: Sequence[Pair], weights: Sequence[float], scale: float, aggregate: Aggregate
) -> Pair:
    """A and B whose product is the update, scale and weights in it.

    ``delta``: sum_i w_i s B_i A_i, pieces side by side, A [K R, D], B [O, K R]. ``factors``:
    s (sum_i w_i B_i) (sum_i w_i A_i), A [R, D], B [O, R].
    """
    if aggregate == "factors":
        a = sum(w * a for w, (a, _) in zip(weights, pieces, strict=True))
        b = sum(scale * w * b for w, (_, b) in zip(weights, pieces, strict=True))
        assert isinstance(a, Tensor) and isinstance(b, Tensor)
        return a, b
    a = torch.cat([a for a, _ in pieces])
    b = torch.cat([scale * w * b for w, (_, b) in zip(weights, pieces, strict=True)], dim=1)
    return a, b
