"""Folding an adapter to a lower rank loses as little as can be, and nothing where the rank fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from idiolect.adapters.arithmetic.concat import concat_lora
from idiolect.adapters.arithmetic.truncate import truncate_rank
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.models.tiny import make_tiny_base
from support.tiny_people import LORA, random_adapter


def updates(adapter: LoraAdapter) -> dict[str, Tensor]:
    scale = adapter.config.scale
    return {p: scale * (b.double() @ a.double()) for p, (a, b) in adapter.pairs.items()}


def test_it_is_exact_where_the_rank_is_enough() -> None:
    """Stacked on nothing, an adapter comes back, whatever rank and alpha the stack has."""
    base = make_tiny_base()
    theirs = random_adapter(base, 1)
    nothing = random_adapter(base, 2, replace(LORA, rank=6, alpha=3.0), size=0.0)
    stacked = concat_lora(theirs, nothing)
    assert stacked.config.rank == 8 and stacked.config.scale != LORA.scale
    made = truncate_rank(stacked, LORA)
    assert made.config == LORA and made.check_matches_base(base, LORA) is made
    for path, wanted in updates(theirs).items():
        assert torch.allclose(updates(made)[path], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_else_it_is_truncated_svd(rank: int) -> None:
    base = make_tiny_base()
    both = concat_lora(
        random_adapter(base, 1), random_adapter(base, 2, replace(LORA, rank=6), size=0.1)
    )
    made = updates(truncate_rank(both, LoraConfig(rank=rank, alpha=5.0)))
    for path, whole in updates(both).items():
        u, s, vh = np.linalg.svd(whole.numpy(), full_matrices=False)
        nearest = (u[:, :rank] * s[:rank]) @ vh[:rank]
        assert s[rank] > 0.01
        assert np.allclose(made[path].numpy(), nearest, rtol=1e-4, atol=1e-5)


def test_a_higher_rank_than_modules_are_wide_is_filled_with_zeros() -> None:
    base = make_tiny_base()
    theirs = random_adapter(base, 1)
    config = LoraConfig(rank=300, alpha=300.0)
    made = truncate_rank(theirs, config)
    assert made.check_matches_base(base, config) is made
    for path, wanted in updates(theirs).items():
        assert torch.allclose(updates(made)[path], wanted, rtol=1e-5, atol=1e-6)


def test_the_same_adapter_gives_the_same_bytes() -> None:
    theirs = random_adapter(make_tiny_base(), 1)
    one, two = truncate_rank(theirs, LORA), truncate_rank(theirs, LORA)
    assert all(
        torch.equal(x, y)
        for p in one.pairs
        for x, y in zip(one.pairs[p], two.pairs[p], strict=True)
    )
