"""AdamW over a stack: each slot equals its own ``torch.optim.AdamW``."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.models.tiny import make_tiny_base
from idiolect.training.engine.optimizer import StackedAdamW
from idiolect.training.schedule import TrainConfig

BASE = make_tiny_base(dtype=torch.float64)
CONFIG = TrainConfig(weight_decay=0.1, clip=0.5)


def make_random_stack(slots: int) -> LoraStack:
    stack = LoraStack(BASE, LoraConfig(rank=1), slots).train()
    torch.nn.init.normal_(stack.weights.detach(), generator=torch.Generator().manual_seed(1))
    return stack


@settings(max_examples=20)
@given(
    who=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    size=st.sampled_from([1e-3, 1.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_stacked_adamw_slot_equals_torch_adamw(who: list[int], size: float, seed: int) -> None:
    """Slots step in any order, with their own rates, with gradients below and above the clip."""
    stack = make_random_stack(3)
    ours = StackedAdamW(stack, CONFIG)
    theirs = [torch.nn.Parameter(row.clone()) for row in stack.weights.detach()]
    optimizers = [torch.optim.AdamW([w], weight_decay=0.1) for w in theirs]
    generator = torch.Generator().manual_seed(seed)
    assert stack.grads is not None
    # Each step: the same gradient for one slot of the stack and for its own torch optimizer.
    for step, slot in enumerate(who):
        rate = 1e-3 * (1 + step + slot)
        gradient = size * torch.randn(theirs[0].shape, generator=generator, dtype=torch.float64)
        stack.grads[slot] = gradient
        norm = ours.step_slot(slot, rate)
        theirs[slot].grad = gradient.clone()
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_([theirs[slot]], 0.5)))
        optimizers[slot].param_groups[0]["lr"] = rate
        optimizers[slot].step()
        for row, weight in zip(stack.weights.detach(), theirs, strict=True):
            assert torch.allclose(row, weight.detach(), rtol=1e-12, atol=1e-14)


def test_step_slot_changes_only_its_slot() -> None:
    stack = make_random_stack(3)
    optimizer = StackedAdamW(stack, CONFIG)
    assert stack.grads is not None
    stack.grads += 1.0
    state = (stack.weights, optimizer.exp_avg, optimizer.exp_avg_sq)
    before = [t.detach().clone() for t in state]
    optimizer.step_slot(1, 0.01)
    assert optimizer.step_counts == [0, 1, 0]
    for now, then in zip(state, before, strict=True):
        assert torch.equal(now[[0, 2]], then[[0, 2]])
        assert not torch.equal(now[1], then[1])
    # A reset clears one slot and keeps the others.
    first = optimizer.exp_avg.clone()
    optimizer.step_slot(2, 0.01)
    optimizer.reset_slot(1)
    assert optimizer.step_counts == [0, 0, 1]
    assert not optimizer.exp_avg[1].any() and not optimizer.exp_avg_sq[1].any()
    assert first[1].any() and optimizer.exp_avg[2].any()
