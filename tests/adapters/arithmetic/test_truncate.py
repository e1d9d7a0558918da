"""Folding an adapter to a lower rank loses as little as can be, and nothing where the rank fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from idiolect.adapters.arithmetic.concat import stack_ranks
from idiolect.adapters.arithmetic.truncate import folded
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.models.tiny import tiny_base
from support.tiny_people import LORA, noisy


def updates(adapter: LoraAdapter) -> dict[str, Tensor]:
    scale = adapter.config.scale
    return {p: scale * (b.double() @ a.double()) for p, (a, b) in adapter.pairs.items()}


def test_it_is_exact_where_the_rank_is_enough() -> None:
    """Stacked on nothing, an adapter comes back, whatever rank and alpha the stack has."""
    base = tiny_base()
    theirs = noisy(base, 1)
    nothing = noisy(base, 2, replace(LORA, rank=6, alpha=3.0), size=0.0)
    stacked = stack_ranks(theirs, nothing)
    assert stacked.config.rank == 8 and stacked.config.scale != LORA.scale
    made = folded(stacked, LORA)
    assert made.config == LORA and made.check(base, LORA) is made
    for path, wanted in updates(theirs).items():
        assert torch.allclose(updates(made)[path], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_else_it_is_truncated_svd(rank: int) -> None:
    base = tiny_base()
    both = stack_ranks(noisy(base, 1), noisy(base, 2, replace(LORA, rank=6), size=0.1))
    made = updates(folded(both, LoraConfig(rank=rank, alpha=5.0)))
    for path, whole in updates(both).items():
        u, s, vh = np.linalg.svd(whole.numpy(), full_matrices=False)
        nearest = (u[:, :rank] * s[:rank]) @ vh[:rank]
        assert s[rank] > 0.01
        assert np.allclose(made[path].numpy(), nearest, rtol=1e-4, atol=1e-5)


def test_a_higher_rank_than_modules_are_wide_is_filled_with_zeros() -> None:
    base = tiny_base()
    theirs = noisy(base, 1)
    config = LoraConfig(rank=300, alpha=300.0)
    made = folded(theirs, config)
    assert made.check(base, config) is made
    for path, wanted in updates(theirs).items():
        assert torch.allclose(updates(made)[path], wanted, rtol=1e-5, atol=1e-6)


def test_the_same_adapter_gives_the_same_bytes() -> None:
    theirs = noisy(tiny_base(), 1)
    one, two = folded(theirs, LORA), folded(theirs, LORA)
    assert all(
        torch.equal(x, y)
        for p in one.pairs
        for x, y in zip(one.pairs[p], two.pairs[p], strict=True)
    )
