"""The mean of many LoRA adapters as one adapter of the same rank: an initial adapter for new
people.

It averages the updates ``B_i A_i``, never the factors, because the factors of two people are not
comparable. The caller must check that each person consents.

Shapes: ``n`` adapters, ``D``/``O`` input and output width of a module, ``R`` rank, ``M = n R``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import MismatchError, UsageError


def average_adapters(adapters: Sequence[LoraAdapter]) -> LoraAdapter:
    """Return the adapter whose update is nearest to the mean update (least squares), of the same
    rank.

    The result is exact if all adapters share one A, or if the mean has at most this rank. Raises
    UsageError if there are no adapters, MismatchError if they differ in base or kind.
    """
    if not adapters:
        raise UsageError("no adapters to average; name at least one person who shares an adapter")
    # Factors of different ranks, modules or bases cannot be averaged.
    first = adapters[0]
    for other in adapters[1:]:
        if other.base != first.base or not other.config.is_same_kind(first.config):
            raise MismatchError(
                f"cannot average adapters of different kinds: {first.config.description} on "
                f"base {first.base[:12]}, {other.config.description} on base {other.base[:12]}"
            )
    pairs = {path: _average_pairs([one.pairs[path] for one in adapters]) for path in first.pairs}
    return LoraAdapter(config=first.config, base=first.base, pairs=pairs)


def _average_pairs(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return A [R, D] and B [O, R] whose product is nearest to the mean of the products.

    The mean is ``up down`` with the factors stacked, so its SVD is that of the small matrix
    between the two QR bases (M by M) instead of an O by D matrix.
    """
    rank, dtype = pairs[0][0].shape[0], pairs[0][0].dtype
    # With one shared A the mean of the updates is B's mean times A, exactly.
    if all(torch.equal(a, pairs[0][0]) for a, _ in pairs):
        return pairs[0][0].clone(), torch.stack([b for _, b in pairs]).mean(dim=0)
    down_MD = torch.cat([a for a, _ in pairs]).double()
    up_OM = torch.cat([b for _, b in pairs], dim=1).double() / len(pairs)
    # mean = up down = out_basis (out_factor in_factor^T) in_basis^T
    out_basis, out_factor = torch.linalg.qr(up_OM)
    in_basis, in_factor = torch.linalg.qr(down_MD.T)
    left, singular, right = torch.linalg.svd(out_factor @ in_factor.T, full_matrices=False)
    # Both factors get the square root of the singular values; missing ranks stay zero.
    root_R = torch.nn.functional.pad(singular[:rank], (0, max(0, rank - len(singular)))).sqrt()
    b_OR = torch.zeros(up_OM.shape[0], rank, dtype=torch.float64)
    a_RD = torch.zeros(rank, down_MD.shape[1], dtype=torch.float64)
    kept = min(rank, left.shape[1])
    b_OR[:, :kept] = (out_basis @ left[:, :kept]) * root_R[:kept]
    a_RD[:kept] = root_R[:kept, None] * (in_basis @ right[:kept].T).T
    return a_RD.to(dtype), b_OR.to(dtype)
