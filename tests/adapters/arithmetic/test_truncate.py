"""Truncation loses as little of an update as possible, and nothing if the rank is enough."""

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


def compute_updates(adapter: LoraAdapter) -> dict[str, Tensor]:
    scale = adapter.config.scale
    return {p: scale * (b.double() @ a.double()) for p, (a, b) in adapter.pairs.items()}


def test_truncate_rank_is_exact_if_rank_is_enough() -> None:
    """Concatenated with zeros, an adapter comes back for any rank and alpha of the
    concatenation."""
    base = make_tiny_base()
    adapter = random_adapter(base, 1)
    # Concatenation with zeros changes rank and scale, but not the update.
    zeros = random_adapter(base, 2, replace(LORA, rank=6, alpha=3.0), size=0.0)
    stacked = concat_lora(adapter, zeros)
    assert stacked.config.rank == 8 and stacked.config.scale != LORA.scale
    truncated = truncate_rank(stacked, LORA)
    assert truncated.config == LORA and truncated.check_matches_base(base, LORA) is truncated
    for path, expected in compute_updates(adapter).items():
        assert torch.allclose(compute_updates(truncated)[path], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_truncate_rank_equals_truncated_svd(rank: int) -> None:
    base = make_tiny_base()
    both = concat_lora(
        random_adapter(base, 1), random_adapter(base, 2, replace(LORA, rank=6), size=0.1)
    )
    truncated = compute_updates(
        truncate_rank(both, LoraConfig(rank=rank, alpha=5.0, targets=("q_proj", "v_proj")))
    )
    for path, whole in compute_updates(both).items():
        u, s, vh = np.linalg.svd(whole.numpy(), full_matrices=False)
        nearest = (u[:, :rank] * s[:rank]) @ vh[:rank]
        # Truncation must lose something, otherwise the test shows nothing.
        assert s[rank] > 0.01
        assert np.allclose(truncated[path].numpy(), nearest, rtol=1e-4, atol=1e-5)


def test_truncate_rank_pads_rank_above_module_width_with_zeros() -> None:
    base = make_tiny_base()
    adapter = random_adapter(base, 1)
    config = LoraConfig(rank=300, alpha=300.0, targets=("q_proj", "v_proj"))
    truncated = truncate_rank(adapter, config)
    assert truncated.check_matches_base(base, config) is truncated
    for path, expected in compute_updates(adapter).items():
        assert torch.allclose(compute_updates(truncated)[path], expected, rtol=1e-5, atol=1e-6)


def test_truncate_rank_is_deterministic() -> None:
    adapter = random_adapter(make_tiny_base(), 1)
    one, two = truncate_rank(adapter, LORA), truncate_rank(adapter, LORA)
    assert all(
        torch.equal(x, y)
        for p in one.pairs
        for x, y in zip(one.pairs[p], two.pairs[p], strict=True)
    )
