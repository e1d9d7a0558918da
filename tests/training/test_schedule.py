"""The training schedule: settings, batches and learning rates."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.config import from_plain, to_plain
from idiolect.errors import UsageError
from idiolect.training.schedule import (
    TrainConfig,
    compute_learning_rate,
    count_items,
    count_steps,
    plan_batches,
)


@given(
    examples=st.integers(1, 60),
    batch=st.integers(1, 20),
    epochs=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_plan_batches_uses_each_example_once_per_epoch(
    examples: int, batch: int, epochs: int, seed: int
) -> None:
    plan = plan_batches(examples, TrainConfig(batch=batch, epochs=epochs, seed=seed), "p")
    steps = -(-examples // batch)
    assert len(plan) == steps * epochs
    for epoch in range(epochs):
        seen = Counter(n for b in plan[epoch * steps : (epoch + 1) * steps] for n in b)
        assert seen == Counter(range(examples))
    assert all(1 <= len(b) <= batch for b in plan)


@given(examples=st.integers(1, 40), batch=st.integers(1, 20), steps=st.integers(1, 50))
def test_plan_batches_with_steps_cycles_over_examples(
    examples: int, batch: int, steps: int
) -> None:
    """The plan is a prefix of the plan of many epochs."""
    config = TrainConfig(batch=batch, epochs=50, steps=steps)
    plan = plan_batches(examples, config, "p")
    assert len(plan) == steps == count_steps(examples, config)
    assert plan == plan_batches(examples, replace(config, steps=None), "p")[:steps]
    assert sum(map(len, plan)) == count_items(examples, config)
    whole = replace(config, steps=None, epochs=3)
    assert count_items(examples, whole) == 3 * examples
    assert count_steps(examples, whole) == len(plan_batches(examples, whole, "p"))


def test_train_config_without_steps_omits_it_in_plain_form() -> None:
    """Stores identify adapters by a hash of this form, which must not change."""
    assert "steps" not in to_plain(TrainConfig())
    assert to_plain(TrainConfig(steps=3))["steps"] == 3
    assert from_plain(TrainConfig, {"steps": 3}) == TrainConfig(steps=3)


def test_train_config_refuses_patience_with_steps() -> None:
    with pytest.raises(UsageError, match=r"train\.patience"):
        TrainConfig(patience=1, steps=3)


def test_plan_batches_order_depends_on_person_seed_and_epoch() -> None:
    config = TrainConfig(batch=4)
    plan = plan_batches(40, config, "p")
    assert plan == plan_batches(40, config, "p")
    assert plan != plan_batches(40, config, "q")
    assert plan != plan_batches(40, TrainConfig(batch=4, seed=1), "p")
    assert plan[:10] != plan[10:20]  # another order each epoch


@given(steps=st.integers(1, 200), warmup=st.floats(0, 0.99))
def test_compute_learning_rate_rises_then_falls_and_is_never_zero(
    steps: int, warmup: float
) -> None:
    config = TrainConfig(rate=0.01, warmup=warmup)
    rates = [compute_learning_rate(step, steps, config) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01)
    assert all(rate > 0 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak == int(warmup * steps)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 0.0),
        ("rate", float("nan")),
        ("clip", -1.0),
        ("epsilon", 0.0),
        ("epochs", 0),
        ("batch", 0),
        ("steps", 0),
        ("warmup", 1.0),
        ("beta1", 1.0),
        ("beta2", -0.1),
    ],
)
def test_train_config_refuses_invalid_values(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"train.{name}"):
        TrainConfig(**{name: value})
