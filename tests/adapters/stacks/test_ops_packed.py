"""Packed LoRA: grouped products equal a loop over slots and padded rows, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.stacks import ops_packed
from idiolect.adapters.stacks.ops_packed import (
    TokenGroups,
    can_use_grouped_mm,
    packed_lora_forward,
    packed_lora_forward_autograd,
)
from idiolect.adapters.stacks.ops_padded import LoraWeights, SlotIndex, lora_forward_autograd

SLOTS, WIDE, OUT, SCALE = 5, 16, 24, 2.0

token_counts = st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, 6), min_size=1).map(
    lambda sizes: tuple(sorted(sizes.items()))
)
"""The slots that have tokens, and how many."""


def make_inputs(tokens: int, rank: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, LoraWeights]:
    """Return outputs [N, O], inputs [N, D] with gradients, and weights whose gradients start at
    1."""
    g = torch.Generator().manual_seed(tokens)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

    wide = torch.float64 if dtype == torch.float64 else torch.float32
    pair = LoraWeights(
        random(SLOTS, rank, WIDE),
        random(SLOTS, OUT, rank),
        torch.ones(SLOTS, rank, WIDE, dtype=wide),
        torch.ones(SLOTS, OUT, rank, dtype=wide),
    )
    return random(tokens, OUT).requires_grad_(), random(tokens, WIDE).requires_grad_(), pair


def run_forward_and_backward(
    out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
) -> list[Tensor]:
    """Return the output and all gradients."""
    anchor = torch.zeros((), requires_grad=True)
    # The forward is the same with and without gradients.
    output = packed_lora_forward_autograd(anchor, out, x, pair, tokens)
    assert torch.equal(output, packed_lora_forward(out, x, pair, tokens))
    weights = torch.linspace(0, 1, OUT, dtype=output.dtype)
    found = torch.autograd.grad((output * weights).sum(), (out, x))  # expanded strides
    assert pair.grad_a is not None and pair.grad_b is not None
    return [output.detach(), *found, pair.grad_a, pair.grad_b]


@settings(max_examples=30)
@given(counts=token_counts, dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_packed_lora_grouped_products_equal_loop(
    counts: tuple[tuple[int, int], ...], dtype: torch.dtype
) -> None:
    slots, sizes = zip(*counts, strict=True)
    found: list[list[Tensor]] = []
    with pytest.MonkeyPatch.context() as patch:
        # Once with grouped kernels, once with the loop.
        for grouped in (True, False):
            out, x, pair = make_inputs(sum(sizes), 8, dtype)
            assert can_use_grouped_mm(x, pair.a.transpose(1, 2))
            patch.setattr(ops_packed, "can_use_grouped_mm", lambda *_, grouped=grouped: grouped)
            found.append(
                run_forward_and_backward(
                    out, x, pair, TokenGroups.from_slots(slots, sizes, SCALE, out)
                )
            )
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=tolerance, atol=tolerance)


@settings(max_examples=30)
@given(counts=token_counts, rank=st.sampled_from([1, 2, 8]))
def test_packed_lora_equals_padded_rows(counts: tuple[tuple[int, int], ...], rank: int) -> None:
    slots, sizes = zip(*counts, strict=True)
    out, x, pair = make_inputs(sum(sizes), rank, torch.float64)
    found = run_forward_and_backward(out, x, pair, TokenGroups.from_slots(slots, sizes, SCALE, out))
    out, x, pair = make_inputs(sum(sizes), rank, torch.float64)
    # The same tokens as padded rows of length 1.
    owner = torch.tensor(slots).repeat_interleave(torch.tensor(sizes))
    rows = SlotIndex(owner, torch.full((len(owner), 1, 1), SCALE))
    anchor = torch.zeros((), requires_grad=True)
    output = lora_forward_autograd(anchor, out[:, None], x[:, None], pair, rows)[:, 0]
    weights = torch.linspace(0, 1, OUT, dtype=output.dtype)
    gradients = torch.autograd.grad((output * weights).sum(), (out, x))
    assert pair.grad_a is not None and pair.grad_b is not None
    expected = [output.detach(), *gradients, pair.grad_a, pair.grad_b]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    # Slots without tokens get no gradient.
    idle = sorted(set(range(SLOTS)) - set(slots))
    assert (found[3][idle] == 1).all() and (found[4][idle] == 1).all()


def test_can_use_grouped_mm_rejects_unsupported_dtypes_and_strides() -> None:
    x = torch.zeros(6, 8)
    assert can_use_grouped_mm(x) and can_use_grouped_mm(x.T)
    assert not can_use_grouped_mm(x.double())
    assert not can_use_grouped_mm(torch.zeros(6, 2))  # rows of 8 bytes
    assert not can_use_grouped_mm(x[:, 1:5])  # not aligned at the start
    assert not can_use_grouped_mm(torch.ones(()).expand(6, 8))


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_can_use_grouped_mm_on_cuda_accepts_only_bf16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    class Matrix:
        """Stands in for a tensor on a GPU."""

        device = torch.device("cuda")
        dtype = torch.bfloat16

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(ops_packed, "_is_aligned", lambda matrix: True)
    assert can_use_grouped_mm(Matrix()) is (capability >= (8, 0))  # type: ignore[arg-type]
    Matrix.dtype = torch.float32
    assert not can_use_grouped_mm(Matrix())  # type: ignore[arg-type]
