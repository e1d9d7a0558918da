"""Gated LoRA: the operations equal autograd, slots do not mix, and gates are validated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.stacks.gates import GateVectors, GateVectorStack
from idiolect.adapters.stacks.ops_gated import (
    GatedLoraWeights,
    gated_lora_forward,
    gated_lora_forward_autograd,
)
from idiolect.adapters.stacks.ops_padded import SlotIndex
from idiolect.errors import IntegrityError, MismatchError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.job_strategies import make_exact_base
from support.random_adapters import compute_logits, make_token_ids, random_adapter

CONFIG = LoraConfig(rank=3, alpha=6.0, targets=("q_proj", "o_proj", "up_proj"))


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


def draw_normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make_filled_stack(base: Base, slots: int, size: float = 0.3) -> GateVectorStack:
    """Return a stack with random adapters and gates."""
    stack = GateVectorStack(base, CONFIG, slots)
    for slot in range(slots):
        stack.load_slot(slot, random_adapter(base, CONFIG, seed=slot))
    stack.weights.copy_(size * draw_normal(*stack.weights.shape, seed=9))
    return stack


@settings(max_examples=30)
@given(slots=st.lists(st.integers(0, 2), min_size=1, max_size=5), masked=st.booleans())
def test_gated_lora_forward_and_backward_equal_autograd(slots: list[int], masked: bool) -> None:
    rows, (users, tokens, inputs, outputs, rank) = len(slots), (3, 4, 5, 6, 2)
    x, out = draw_normal(rows, tokens, inputs, seed=1), draw_normal(rows, tokens, outputs, seed=2)
    gate, a = draw_normal(users, inputs, seed=3), draw_normal(users, rank, inputs, seed=4)
    b, scale = draw_normal(users, outputs, rank, seed=5), draw_normal(rows, 1, 1, seed=6)
    acts = (draw_normal(rows, tokens, 1, seed=7) > 0).double() if masked else None
    dy = draw_normal(rows, tokens, outputs, seed=8)
    slot_index = SlotIndex(torch.tensor(slots), scale, acts)
    # The formula, with torch's autograd.
    leaves = [t.clone().requires_grad_() for t in (out, x, gate)]
    dots = (leaves[1] * leaves[2][slots][:, None]).sum(-1, keepdim=True)
    update = leaves[1] @ a[slots].transpose(1, 2) @ b[slots].transpose(1, 2)
    expected = leaves[0] + scale * (1.0 if acts is None else acts) * dots.sigmoid() * update
    expected.backward(dy)

    # The same by the operations under test.
    into = torch.ones_like(gate)  # gradients are added to what is there
    ours = [t.clone().requires_grad_() for t in (out, x)]
    module = GatedLoraWeights(gate, a, b, into)
    anchor = torch.zeros((), requires_grad=True)
    found = gated_lora_forward_autograd(anchor, ours[0], ours[1], module, slot_index)
    found.backward(dy)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.allclose(
        gated_lora_forward(out, x, module, slot_index), expected, rtol=1e-12, atol=1e-12
    )
    grads = [leaf.grad for leaf in leaves]
    for mine, theirs in zip((ours[0].grad, ours[1].grad, into - 1), grads, strict=True):
        assert mine is not None and theirs is not None
        assert torch.allclose(mine, theirs, rtol=1e-11, atol=1e-11)


def test_compute_gates_keeps_small_gates_in_bf16() -> None:
    """A sigmoid of 0.5 + 0.0005 rounds to 0.5 in bf16."""
    x, out = torch.ones(1, 1, 8), torch.zeros(1, 1, 4)
    a, b = torch.full((1, 2, 8), 0.5), torch.full((1, 4, 2), 0.5)
    slot_index = SlotIndex(torch.tensor([0]), torch.ones(1, 1, 1))
    module = GatedLoraWeights(torch.full((1, 8), 2.5e-4), a, b)
    half = convert_dtype(module, torch.bfloat16)
    _, opened = half.compute_gates(x.bfloat16(), slot_index)
    assert float(opened) == pytest.approx(0.5005, abs=1e-5)
    found = gated_lora_forward(out.bfloat16(), x.bfloat16(), half, slot_index)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), gated_lora_forward(out, x, module, slot_index), rtol=1e-2)


def convert_dtype(module: GatedLoraWeights, dtype: torch.dtype) -> GatedLoraWeights:
    return GatedLoraWeights(module.gate.to(dtype), module.a.to(dtype), module.b.to(dtype))


def test_gate_stack_with_zero_gates_halves_adapter(base: Base) -> None:
    ids, rows = make_token_ids(base), torch.zeros(2, dtype=torch.long)
    adapter = random_adapter(base, CONFIG)
    stack = GateVectorStack(base, CONFIG, 1)
    stack.load_slot(0, adapter)
    # sigmoid(0) = 0.5, so the gated adapter equals one with half the scale.
    half = replace(adapter, config=replace(CONFIG, alpha=CONFIG.alpha / 2))
    with stack.activate(rows):
        found = compute_logits(base.model, ids)
    with stack_adapters(base, [half]).activate(rows):
        assert torch.allclose(found, compute_logits(base.model, ids), rtol=1e-10, atol=1e-10)


@settings(max_examples=20)
@given(rows=st.lists(st.integers(-1, 2), min_size=1, max_size=5))
def test_gate_stack_applies_own_gates_to_each_row(base: Base, rows: list[int]) -> None:
    """Each row equals a forward with its slot alone; slot -1 equals the bare base."""
    ids = make_token_ids(base)[:1]
    stack = make_filled_stack(base, 3)
    with stack.activate(torch.tensor(rows)):
        found = compute_logits(base.model, ids.repeat(len(rows), 1))
    for row, slot in enumerate(rows):
        with stack.activate(torch.tensor([slot])):
            alone = compute_logits(base.model, ids)[0]
        assert torch.allclose(found[row], alone, rtol=1e-9, atol=1e-9)
        if slot < 0:
            assert torch.allclose(alone, compute_logits(base.model, ids)[0], rtol=1e-9, atol=1e-9)
    assert len({round(float(found[i].sum()), 6) for i in range(len(rows))}) == len(set(rows))


def test_gate_stack_backward_fills_only_own_slot_and_no_adapter(base: Base) -> None:
    stack = make_filled_stack(base, 3).train()
    frozen = stack.lora_stack.weights.clone()
    assert stack.grads is not None
    with stack.activate(torch.tensor([2, -1])):
        stack.backward(base.model(input_ids=make_token_ids(base)).logits.logsumexp(-1).sum())
    once = stack.grads.clone()
    assert once[2].any() and not once[:2].any()
    with stack.activate(torch.tensor([2, -1])):
        stack.backward(2 * base.model(input_ids=make_token_ids(base)).logits.logsumexp(-1).sum())
    assert torch.allclose(stack.grads, 3 * once, rtol=1e-9)
    assert stack.lora_stack.grads is None and torch.equal(stack.lora_stack.weights, frozen)


def test_gate_stack_gradients_equal_central_differences(base: Base) -> None:
    """Through all layers, so that lower gates act on the loss through upper ones too."""
    stack, ids = make_filled_stack(base, 2).train(), make_token_ids(base)
    rows = torch.tensor([1, 0])

    def loss() -> Tensor:
        with stack.activate(rows):
            return base.model(input_ids=ids).logits.logsumexp(-1).sum()

    stack.backward(loss())
    assert stack.grads is not None
    for number in range(4):
        direction = draw_normal(*stack.weights.shape, seed=number)
        slope = 0.0
        # Central difference of the loss along a random direction.
        for sign in (1, -1):
            stack.weights += sign * 1e-4 * direction
            with torch.no_grad():
                slope += sign * float(loss()) / 2e-4
            stack.weights -= sign * 1e-4 * direction
        assert slope == pytest.approx(float((stack.grads * direction).sum()), rel=1e-5)


def test_gate_stack_load_slot_zeros_gates_and_keeps_other_slots(base: Base) -> None:
    stack = make_filled_stack(base, 3)
    before = stack.weights.clone()
    gates = stack.from_row(before[1])
    stack.load_slot(1, random_adapter(base, CONFIG, seed=7))
    assert not stack.weights[1].any() and torch.equal(stack.weights[[0, 2]], before[[0, 2]])
    found = torch.cat([gates.vectors[site.path] for site in stack.target_modules])
    assert found.any() and torch.equal(found, before[1])
    with pytest.raises(MismatchError):
        stack.load_slot(0, random_adapter(base, replace(CONFIG, rank=2)))
    assert torch.equal(stack.weights[0], before[0])


def test_gate_stack_activate_restores_base_after_error(base: Base) -> None:
    ids = make_token_ids(base)
    bare = compute_logits(base.model, ids)
    with (
        suppress(ZeroDivisionError),
        make_filled_stack(base, 1).activate(torch.zeros(2, dtype=torch.long)),
    ):
        assert not torch.equal(compute_logits(base.model, ids), bare)
        raise ZeroDivisionError
    assert torch.equal(compute_logits(base.model, ids), bare)


def make_filled_gates(base: Base) -> GateVectors:
    stack = make_filled_stack(base, 1)
    return stack.from_row(stack.weights[0])


def test_check_matches_base_accepts_fitting_gates(base: Base) -> None:
    gates = make_filled_gates(base)
    assert (
        gates.check_matches_base(base) is gates and gates.check_matches_base(base, CONFIG) is gates
    )


def replace_last(value: float) -> Callable[[Tensor], Tensor]:
    return lambda gate: torch.cat([gate[1:], torch.tensor([value])])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (replace_last(float("nan")), IntegrityError, "not finite"),
        (replace_last(float("inf")), IntegrityError, "not finite"),
        (torch.zeros_like, IntegrityError, "same value in all entries, 0"),
        (
            lambda gate: torch.full_like(gate, 0.25),
            IntegrityError,
            "value in all entries, 0.25",
        ),
        (lambda gate: gate[1:], MismatchError, "shape"),
    ],
    ids=["nan", "infinite", "zero", "constant", "short"],
)
def test_check_matches_base_rejects_defective_gate(
    base: Base, change: Callable[[Tensor], Tensor], error: type[Exception], match: str
) -> None:
    gates = make_filled_gates(base)
    path = list(gates.vectors)[2]
    vectors = {**gates.vectors, path: change(gates.vectors[path])}
    with pytest.raises(error, match=match) as raised:
        replace(gates, vectors=vectors).check_matches_base(base)
    assert path in str(raised.value)


def test_check_matches_base_rejects_gates_of_other_base_or_kind(base: Base) -> None:
    gates = make_filled_gates(base)
    with pytest.raises(MismatchError, match="tiny-1"):
        gates.check_matches_base(make_tiny_base(1))
    with pytest.raises(MismatchError, match="rank 4"):
        gates.check_matches_base(base, replace(CONFIG, rank=4))
    fewer = GateVectors(
        config=CONFIG, base=base.identity, vectors=dict(list(gates.vectors.items())[1:])
    )
    with pytest.raises(MismatchError, match="q_proj"):
        fewer.check_matches_base(base)
