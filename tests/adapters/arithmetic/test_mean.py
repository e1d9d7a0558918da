from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from idiolect.adapters.arithmetic.mean import average_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.random_adapters import random_adapter


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


def compute_updates(adapter: LoraAdapter) -> dict[str, torch.Tensor]:
    return {path: b @ a for path, (a, b) in adapter.pairs.items()}


def test_average_adapters_of_one_keeps_update(base: Base) -> None:
    one = random_adapter(base, LoraConfig(rank=3, targets=("q_proj", "v_proj")))
    for path, update in compute_updates(average_adapters([one])).items():
        assert torch.allclose(update, compute_updates(one)[path], atol=1e-12)


def test_average_adapters_equals_truncated_svd_of_mean(base: Base) -> None:
    """Compares with the SVD of the full mean matrix, which would be too large in real models."""
    config = LoraConfig(rank=4, targets=("q_proj", "v_proj"))
    some = [random_adapter(base, config, seed=s) for s in range(3)]
    mean = average_adapters(some)
    assert mean.config == config
    mean.check_matches_base(base, config)
    for path, update in compute_updates(mean).items():
        whole = torch.stack([compute_updates(one)[path] for one in some]).mean(dim=0)
        # The best approximation of rank 4 by the definition.
        left, size, right = torch.linalg.svd(whole, full_matrices=False)
        best = (left[:, :4] * size[:4]) @ right[:4]
        assert torch.allclose(update, best, atol=1e-10)
        assert float(size[4]) > 1e-3  # otherwise truncation would not matter


def test_average_adapters_is_exact_with_shared_a(base: Base) -> None:
    config = LoraConfig(rank=2, shared_a=True, targets=("q_proj", "v_proj"))
    a = random_adapter(base, config, seed=0)
    other = random_adapter(base, config, seed=1)
    # Both adapters have the A of the first.
    b = replace(other, pairs={p: (a.pairs[p][0], other.pairs[p][1]) for p in a.pairs})
    for path, update in compute_updates(average_adapters([a, b])).items():
        assert torch.allclose(
            update, (compute_updates(a)[path] + compute_updates(b)[path]) / 2, atol=1e-12
        )


def test_average_adapters_rejects_mixed_ranks_and_empty_list(base: Base) -> None:
    one = random_adapter(base, LoraConfig(rank=2, targets=("q_proj", "v_proj")))
    with pytest.raises(MismatchError, match="rank 3"):
        average_adapters(
            [one, random_adapter(base, LoraConfig(rank=3, targets=("q_proj", "v_proj")))]
        )
    with pytest.raises(UsageError, match="no adapters"):
        average_adapters([])
