"""Dropout whose draws belong to a person's own step and item, not to their place in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.stacks.base import Dropout


def make_row_dropout(rate: float, seeds: Sequence[int], lengths: Sequence[int]) -> Dropout | None:
    """Drop entries of the adapters' input: row ``i`` draws from ``seeds[i]``, for its first
    ``lengths[i]`` tokens.

    ``None`` where the rate is 0. Slow by nature (a generator for every row and module).
    """
    if rate == 0:
        return None

    def drop_entries(x: Tensor, number: int) -> Tensor:
        mask = torch.ones(x.shape, dtype=x.dtype)
        for i, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
            generator = torch.Generator().manual_seed((seed + number * 1_000_003) % 2**63)
            draws = torch.rand(length, x.shape[2], generator=generator)
            mask[i, :length] = (draws >= rate).to(x.dtype) / (1 - rate)
        return x * mask.to(x.device)

    return drop_entries
