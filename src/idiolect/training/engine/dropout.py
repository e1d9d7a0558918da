"""Dropout whose random draws depend on a person's step and example, not on the place in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.stacks.base import Dropout
from idiolect.config import derive_seed


def derive_dropout_seed(seed: int, person: str, step: int, number: int) -> int:
    """Return the seed of one row, which depends on the person, step and number of the example,
    never on the slot or on other people."""
    return derive_seed(seed, person, "dropout", step, number)


def make_row_dropout(rate: float, seeds: Sequence[int], lengths: Sequence[int]) -> Dropout | None:
    """Make a function that drops entries of the adapters' input; ``None`` if the rate is 0.

    Row ``i`` draws from ``seeds[i]``, for its first ``lengths[i]`` tokens. Slow, because each row
    and module needs its own generator.
    """
    # Also when scoring: no dropout at all.
    if rate == 0:
        return None

    def drop_entries(x_BTD: Tensor, number: int) -> Tensor:
        mask_BTD = torch.ones(x_BTD.shape, dtype=x_BTD.dtype)
        for i, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
            # One stream of draws for each row and module (``number``), always on the CPU.
            generator = torch.Generator().manual_seed((seed + number * 1_000_003) % 2**63)
            draws = torch.rand(length, x_BTD.shape[2], generator=generator)
            mask_BTD[i, :length] = (draws >= rate).to(x_BTD.dtype) / (1 - rate)
        return x_BTD * mask_BTD.to(x_BTD.device)

    return drop_entries
