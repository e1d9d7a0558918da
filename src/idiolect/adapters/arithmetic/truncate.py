"""Truncation of a LoRA adapter to a lower rank with the least loss of its update.

A concatenation (a person's adapter and a negated delta) has the sum of both ranks, but a store
holds one rank. Truncated SVD gives the nearest update of that rank (Eckart and Young, 1936).

Shapes: ``D``/``O`` input and output width of a module, ``R`` rank of the result.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig


def truncate_rank(adapter: LoraAdapter, config: LoraConfig) -> LoraAdapter:
    """Return the adapter of the config's rank and alpha whose update is nearest to this adapter's.

    Nearest means the Frobenius norm, module by module. The updates are equal up to rounding if
    their rank is not larger. A and B get the same norm.
    """
    pairs = {
        path: _truncate_pair(a, adapter.config.scale * b.to(torch.float64), config)
        for path, (a, b) in adapter.pairs.items()
    }
    return LoraAdapter(config=config, base=adapter.base, pairs=pairs)


def _truncate_pair(a: Tensor, b: Tensor, config: LoraConfig) -> tuple[Tensor, Tensor]:
    """Return A [R, D] and B [O, R] with ``scale B A`` nearest to ``b a``, in the dtype of ``a``.

    The SVD is that of the small product of the triangular factors of both QRs, in fp64.
    """
    out_basis, out_factor = torch.linalg.qr(b)
    in_basis, in_factor = torch.linalg.qr(a.to(torch.float64).T)
    u, singular, vh = torch.linalg.svd(out_factor @ in_factor.T, full_matrices=False)
    kept = min(config.rank, len(singular))
    # Both factors get the square root of the singular values, without the new config's scale.
    root = (singular[:kept] / config.scale).sqrt()
    a_RD = torch.zeros(config.rank, a.shape[1], dtype=a.dtype)
    b_OR = torch.zeros(b.shape[0], config.rank, dtype=a.dtype)
    a_RD[:kept] = (root[:, None] * (vh[:kept] @ in_basis.T)).to(a.dtype)
    b_OR[:, :kept] = (out_basis @ u[:, :kept] * root).to(a.dtype)
    return a_RD, b_OR
