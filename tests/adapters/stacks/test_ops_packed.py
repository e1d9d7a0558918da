"""Grouped products against a loop over slots, and against padded rows; forward and backward."""

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

crowds = st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, 6), min_size=1).map(
    lambda sizes: tuple(sorted(sizes.items()))
)
"""Who has tokens, and how many."""


def drawn(tokens: int, rank: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, LoraWeights]:
    """Outputs [N, O], inputs [N, D] with gradients, and a pair whose gradients start at 1."""
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


def trained(out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups) -> list[Tensor]:
    """What comes out, and every gradient."""
    anchor = torch.zeros((), requires_grad=True)
    made = packed_lora_forward_autograd(anchor, out, x, pair, tokens)
    assert torch.equal(made, packed_lora_forward(out, x, pair, tokens))
    weights = torch.linspace(0, 1, OUT, dtype=made.dtype)
    found = torch.autograd.grad((made * weights).sum(), (out, x))  # expanded strides
    assert pair.grad_a is not None and pair.grad_b is not None
    return [made.detach(), *found, pair.grad_a, pair.grad_b]


@settings(max_examples=30)
@given(crowd=crowds, dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_grouped_products_equal_a_loop(
    crowd: tuple[tuple[int, int], ...], dtype: torch.dtype
) -> None:
    slots, sizes = zip(*crowd, strict=True)
    found: list[list[Tensor]] = []
    with pytest.MonkeyPatch.context() as patch:
        for grouped in (True, False):
            out, x, pair = drawn(sum(sizes), 8, dtype)
            assert can_use_grouped_mm(x, pair.a.transpose(1, 2))
            patch.setattr(ops_packed, "can_use_grouped_mm", lambda *_, grouped=grouped: grouped)
            found.append(trained(out, x, pair, TokenGroups.from_slots(slots, sizes, SCALE, out)))
    near = 1e-5 if dtype == torch.float32 else 2e-2
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=near, atol=near)


@settings(max_examples=30)
@given(crowd=crowds, rank=st.sampled_from([1, 2, 8]))
def test_tokens_get_what_rows_get(crowd: tuple[tuple[int, int], ...], rank: int) -> None:
    slots, sizes = zip(*crowd, strict=True)
    out, x, pair = drawn(sum(sizes), rank, torch.float64)
    found = trained(out, x, pair, TokenGroups.from_slots(slots, sizes, SCALE, out))
    out, x, pair = drawn(sum(sizes), rank, torch.float64)
    owner = torch.tensor(slots).repeat_interleave(torch.tensor(sizes))
    rows = SlotIndex(owner, torch.full((len(owner), 1, 1), SCALE))
    anchor = torch.zeros((), requires_grad=True)
    made = lora_forward_autograd(anchor, out[:, None], x[:, None], pair, rows)[:, 0]
    weights = torch.linspace(0, 1, OUT, dtype=made.dtype)
    gradients = torch.autograd.grad((made * weights).sum(), (out, x))
    assert pair.grad_a is not None and pair.grad_b is not None
    expected = [made.detach(), *gradients, pair.grad_a, pair.grad_b]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    idle = sorted(set(range(SLOTS)) - set(slots))
    assert (found[3][idle] == 1).all() and (found[4][idle] == 1).all()


def test_what_kernels_do_not_take_is_not_grouped() -> None:
    x = torch.zeros(6, 8)
    assert can_use_grouped_mm(x) and can_use_grouped_mm(x.T)
    assert not can_use_grouped_mm(x.double())
    assert not can_use_grouped_mm(torch.zeros(6, 2))  # rows of 8 bytes
    assert not can_use_grouped_mm(x[:, 1:5])  # begins between
    assert not can_use_grouped_mm(torch.ones(()).expand(6, 8))


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_on_cuda_bf16_alone_is_grouped(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    class Matrix:
        """As if on a GPU."""

        device = torch.device("cuda")
        dtype = torch.bfloat16

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(ops_packed, "_is_aligned", lambda matrix: True)
    assert can_use_grouped_mm(Matrix()) is (capability >= (8, 0))  # type: ignore[arg-type]
    Matrix.dtype = torch.float32
    assert not can_use_grouped_mm(Matrix())  # type: ignore[arg-type]
