"""Combines several weighted pieces of one module into one pair (A, B). Pure tensor code.

Shapes: ``K`` pieces, ``R`` rank, ``D``/``O`` input and output widths of the module.
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
    """Return A and B whose product is the weighted update, with ``scale`` and the weights folded
    in.

    ``delta``: sum_i w_i s B_i A_i, as concatenated factors A [K R, D], B [O, K R]. ``factors``: s
    (sum_i w_i B_i) (sum_i w_i A_i), with A [R, D], B [O, R].
    """
    if aggregate == "factors":
        # The scale goes into B only, so that it counts once.
        a = sum(w * a for w, (a, _) in zip(weights, pieces, strict=True))
        b = sum(scale * w * b for w, (_, b) in zip(weights, pieces, strict=True))
        assert isinstance(a, Tensor) and isinstance(b, Tensor)
        return a, b
    # Concatenated along the rank: the product sums the pieces' updates.
    a = torch.cat([a for a, _ in pieces])
    b = torch.cat([scale * w * b for w, (_, b) in zip(weights, pieces, strict=True)], dim=1)
    return a, b
