"""A small basis of random people, and jobs to train along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from idiolect.adapters.arithmetic.directions import AdapterBasis, compute_basis
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.models.base import Base
from support.random_adapters import random_adapter

SHARED_LORA = LoraConfig(rank=2, alpha=4.0, shared_a=True, targets=("q_proj", "v_proj"))


def make_donors(
    base: Base, count: int, config: LoraConfig = SHARED_LORA, *, size: float = 1.0
) -> list[LoraAdapter]:
    """Make random adapters that share one A."""
    first = random_adapter(base, config, seed=0)
    donors: list[LoraAdapter] = []
    for seed in range(count):
        other = random_adapter(base, config, seed=seed)
        pairs = {p: (first.pairs[p][0], size * b) for p, (_, b) in other.pairs.items()}
        donors.append(replace(other, pairs=pairs))
    return donors


def make_basis(base: Base, count: int = 3, config: LoraConfig = SHARED_LORA) -> AdapterBasis:
    """Make a basis of ``count`` directions from random donors."""
    return compute_basis(make_donors(base, 2 * count + 1, config, size=0.1), count)


def make_noise_source(seed: int) -> Callable[[int, float], Tensor]:
    """Return noise that can be repeated, for tests only."""
    generator = torch.Generator().manual_seed(seed)

    def draw_noise(count: int, deviation: float) -> Tensor:
        return torch.randn(count, generator=generator, dtype=torch.float64) * deviation

    return draw_noise
