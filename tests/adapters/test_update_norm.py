"""The size of an update, and the largest that is allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect.adapters.formats.peft import load_peft, save_peft
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.update_norm import MAX_NORM_RATIO, compute_update_norm
from idiolect.errors import IntegrityError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import make_jobs
from support.random_adapters import random_adapter


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@given(seed=st.integers(0, 99), size=st.sampled_from([1e-30, 1.0, 1e15]))
def test_compute_update_norm_equals_norm_of_product(seed: int, size: float) -> None:
    generator = torch.manual_seed(seed)
    a, b = torch.randn(3, 7, generator=generator) * size, torch.randn(5, 3, generator=generator)
    expected = float((2.5 * (b.double() @ a.double())).norm())
    assert compute_update_norm(a, b, 2.5) == pytest.approx(expected, rel=1e-9)


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("size", [1e6, 1e30, 3e38])
def test_check_matches_base_refuses_update_beyond_bound(base: Base, size: float) -> None:
    adapter = random_adapter(base)
    path, (a, b) = next(iter(adapter.pairs.items()))
    huge = replace(adapter, pairs={**adapter.pairs, path: (a, (b * size).clamp(-3e38, 3e38))})
    with pytest.raises(IntegrityError, match=r"q_proj: its update is .* times .*at most 1000"):
        huge.check_matches_base(base)


@pytest.mark.finding("batch-mates")
def test_load_peft_refuses_update_beyond_bound(base: Base, tmp_path: Path) -> None:
    adapter = random_adapter(base)
    pairs = {path: (a, b * 1e20) for path, (a, b) in adapter.pairs.items()}
    save_peft(tmp_path / "a", replace(adapter, pairs=pairs), base_name="tiny")
    with pytest.raises(IntegrityError, match=r"adapter_model.safetensors: .*lower train.rate"):
        load_peft(tmp_path / "a", base)


def test_check_matches_base_allows_aggressive_training(base: Base) -> None:
    """At 50 times the default rate the update is far below the bound."""
    config = TrainConfig(rate=50 * TrainConfig().rate, epochs=8, batch=2)
    trained = train_one(base, make_jobs(1)[0], LoraConfig(), config).adapter
    trained.check_matches_base(base)
    pairs = trained.pairs.items()  # type: ignore[attr-defined]
    ratios = [
        compute_update_norm(a, b, 1.0) / float(base.model.get_submodule(path).weight.norm())
        for path, (a, b) in pairs
    ]
    assert 0.1 < max(ratios) < MAX_NORM_RATIO / 10


def test_check_matches_base_compares_with_current_weight() -> None:
    """The norm of a weight is kept, but not longer than the weight."""
    base = make_tiny_base()
    adapter = random_adapter(base)
    adapter.check_matches_base(base)
    path, (a, b) = next(iter(adapter.pairs.items()))
    large = replace(adapter, pairs={**adapter.pairs, path: (a, b * 1e5)})
    with pytest.raises(IntegrityError):
        large.check_matches_base(base)
    with torch.no_grad():
        base.model.get_submodule(path).weight.mul_(1e6)
    large.check_matches_base(base)
