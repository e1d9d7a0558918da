from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.stacks.base import slots_of
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.errors import MismatchError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.random_adapters import compute_logits, make_token_ids, merge_into, random_adapter

CONFIG = LoraConfig(rank=3, alpha=6.0, targets=("q_proj", "o_proj", "up_proj"))


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


@settings(max_examples=20)
@given(rows=st.lists(st.integers(-1, 2), min_size=1, max_size=5))
def test_lora_stack_equals_merged_models_row_by_row(base: Base, rows: list[int]) -> None:
    """Compares with three models that have the adapters merged in, and one without."""
    adapters = [random_adapter(base, CONFIG, seed=s) for s in range(3)]
    ids = make_token_ids(base)[:1].repeat(len(rows), 1)
    with stack_adapters(base, adapters).activate(torch.tensor(rows)):
        found = compute_logits(base.model, ids)
    for row, slot in enumerate(rows):
        # A model of its own for each row, with the adapter in its weights.
        model = make_tiny_base(dtype=torch.float64).model
        if slot >= 0:
            merge_into(model, adapters[slot])
        assert (found[row] - compute_logits(model, ids[:1])[0]).abs().max() <= 1e-6
    assert len({round(float(found[i].sum()), 6) for i in range(len(rows))}) == len(set(rows))


def test_lora_stack_activate_restores_base_after_error(base: Base) -> None:
    ids = make_token_ids(base)
    bare = compute_logits(base.model, ids)
    stack = stack_adapters(base, [random_adapter(base)])
    rows = torch.zeros(2, dtype=torch.long)
    with suppress(ZeroDivisionError), stack.activate(rows):
        assert not torch.equal(compute_logits(base.model, ids), bare)
        raise ZeroDivisionError
    assert torch.equal(compute_logits(base.model, ids), bare)


def test_lora_stack_load_slot_round_trips_and_keeps_other_slots(base: Base) -> None:
    stack = LoraStack(base, CONFIG, 3)
    adapters = [random_adapter(base, CONFIG, seed=s) for s in range(3)]
    # Fill the slots out of order, and replace one.
    for slot in (2, 0, 1):
        stack.load_slot(slot, adapters[slot])
    stack.load_slot(1, adapters[0])
    for slot, expected in enumerate((adapters[0], adapters[0], adapters[2])):
        found = stack.from_row(stack.weights[slot])
        assert (found.config, found.base) == (CONFIG, base.identity)
        for path, pair in expected.pairs.items():
            for ours, theirs in zip(found.pairs[path], pair, strict=True):
                assert torch.equal(ours, theirs)
    # A value of a cloned row does not change with the stack.
    copied = stack.from_row(stack.weights[0].clone())
    stack.weights.zero_()
    assert any(a.any() for a, _ in copied.pairs.values())
    assert all(a.any() for a, _ in adapters[0].pairs.values())  # the slot holds a copy, not a view


def test_lora_stack_backward_fills_only_own_slot(base: Base) -> None:
    """Each row's loss changes only its own slot's gradients, and twice the loss adds twice as
    much."""
    stack = stack_adapters(base, [random_adapter(base, CONFIG, seed=s) for s in range(3)]).train()
    ids = make_token_ids(base)
    assert stack.grads is not None
    with stack.activate(torch.tensor([2, -1])):
        stack.backward(base.model(input_ids=ids).logits.logsumexp(-1).sum())
    once = stack.grads.clone()
    assert once[2].any() and not once[:2].any()
    with stack.activate(torch.tensor([2, -1])):
        stack.backward(2 * base.model(input_ids=ids).logits.logsumexp(-1).sum())
    assert torch.allclose(stack.grads, 3 * once, rtol=1e-9)


@pytest.mark.parametrize(
    "change",
    [{"rank": 1, "alpha": 2.0}, {"alpha": 1.0}, {"targets": ("q_proj",)}],
    ids=["rank", "scale", "modules"],
)
def test_lora_stack_rejects_adapters_of_other_settings(
    base: Base, change: dict[str, object]
) -> None:
    other = replace(CONFIG, **change)  # type: ignore[arg-type]
    stack = LoraStack(base, CONFIG, 1)
    with pytest.raises(MismatchError):
        stack.load_slot(0, random_adapter(base, other))
    with pytest.raises(MismatchError):
        stack_adapters(base, [random_adapter(base, CONFIG), random_adapter(base, other)])
    assert not stack.weights.any()


def test_slots_of_returns_minus_one_for_unknown_people() -> None:
    rows = slots_of(["b", "unknown", "a", "b"], {"a": 0, "b": 1}, torch.device("cpu"))
    assert rows.tolist() == [1, -1, 0, 1] and rows.dtype == torch.long
