"""An adapter pressed into a lower rank, as little of its update lost as can be; no files.

What is stacked (a person's adapter and a negated delta beside it) has the sum of their ranks, and
stores hold one rank: by Eckart and Young, 1936, nothing of that rank is nearer than truncated SVD.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig


def truncate_rank(adapter: LoraAdapter, config: LoraConfig) -> LoraAdapter:
    """The adapter of the config's rank and alpha whose update is nearest to this one's.

    Nearest in the Frobenius norm, module by module; equal up to rounding where the rank of an
    update is no larger. Both halves of a pair weigh the same.
    """
    pairs = {
        path: _truncate_pair(a, adapter.config.scale * b.to(torch.float64), config)
        for path, (a, b) in adapter.pairs.items()
    }
    return LoraAdapter(config=config, base=adapter.base, pairs=pairs)


def _truncate_pair(a: Tensor, b: Tensor, config: LoraConfig) -> tuple[Tensor, Tensor]:
    """A [rank, D] and B [O, rank] with ``scale B A`` nearest to ``b a``; of a's dtype.

    The SVD is one of the small product of both halves' triangular factors, in fp64.
    """
    left, inner_left = torch.linalg.qr(b)
    right, inner_right = torch.linalg.qr(a.to(torch.float64).T)
    u, s, vh = torch.linalg.svd(inner_left @ inner_right.T, full_matrices=False)
    kept = min(config.rank, len(s))
    root = (s[:kept] / config.scale).sqrt()
    down = torch.zeros(config.rank, a.shape[1], dtype=a.dtype)
    up = torch.zeros(b.shape[0], config.rank, dtype=a.dtype)
    down[:kept] = (root[:, None] * (vh[:kept] @ right.T)).to(a.dtype)
    up[:, :kept] = (left @ u[:, :kept] * root).to(a.dtype)
    return down, up
