"""The mean of many adapters as one of the same kind: where a newcomer's training can start.

The mean of the updates ``B_i A_i`` is meant, never that of the factors: factors of two people have
nothing to do with each other. Whose adapters take part must have consented; the caller says who.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import MismatchError, UsageError


def average_adapters(adapters: Sequence[LoraAdapter]) -> LoraAdapter:
    """The adapter of their rank whose update is nearest to the mean of theirs (least squares).

    Exact where all share one A, or where the mean has no higher rank. Raises UsageError for none
    at all, MismatchError where they differ in base or kind.
    """
    if not adapters:
        raise UsageError("the mean of no adapters: name at least one person who shares theirs")
    first = adapters[0]
    for other in adapters[1:]:
        if other.base != first.base or not other.config.is_same_kind(first.config):
            raise MismatchError(
                f"adapters of different kinds have no mean: {first.config.description} on "
                f"{first.base[:12]}, {other.config.description} on {other.base[:12]}"
            )
    pairs = {path: _average_pairs([one.pairs[path] for one in adapters]) for path in first.pairs}
    return LoraAdapter(config=first.config, base=first.base, pairs=pairs)


def _average_pairs(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A [R, D] and B [O, R] whose product is nearest to the mean of the products.

    The singular values are found in the small space that the stacked factors span (n R wide).
    """
    rank, dtype = pairs[0][0].shape[0], pairs[0][0].dtype
    if all(torch.equal(a, pairs[0][0]) for a, _ in pairs):
        return pairs[0][0].clone(), torch.stack([b for _, b in pairs]).mean(dim=0)
    down = torch.cat([a for a, _ in pairs]).double()  # [n R, D]
    up = torch.cat([b for _, b in pairs], dim=1).double() / len(pairs)  # [O, n R]
    out_basis, out_part = torch.linalg.qr(up)
    in_basis, in_part = torch.linalg.qr(down.T)
    left, size, right = torch.linalg.svd(out_part @ in_part.T, full_matrices=False)
    size = torch.nn.functional.pad(size[:rank], (0, max(0, rank - len(size)))).sqrt()
    b = torch.zeros(up.shape[0], rank, dtype=torch.float64)
    a = torch.zeros(rank, down.shape[1], dtype=torch.float64)
    kept = min(rank, left.shape[1])
    b[:, :kept] = (out_basis @ left[:, :kept]) * size[:kept]
    a[:kept] = size[:kept, None] * (in_basis @ right[:kept].T).T
    return a.to(dtype), b.to(dtype)
