"""Prepacked layers give the same numbers, forward and backward, and are restored afterwards."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from idiolect.models.cpu import prepacked_linear
from idiolect.models.cpu.prepacked_linear import _pack_weight, prepack_base, prepack_linear
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_prepack_linear_gives_same_output_and_gradient(bias: bool, tokens: int) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 80, bias=bias).bfloat16().requires_grad_(False)
    model = nn.Sequential(linear)
    if _pack_weight(linear) is None:
        pytest.skip("this processor or torch packs no bf16 matrices")
    x = torch.randn(2, tokens, 48).bfloat16().requires_grad_()
    weights = torch.randn(2, tokens, 80).bfloat16()
    found = []
    for inside in (False, True):
        x.grad = None
        if inside:
            with prepack_linear(model):
                out = model(x)
        else:
            out = model(x)
        (out * weights).sum().backward()
        assert x.grad is not None
        found.append((out.detach(), x.grad.clone()))
    (plain, plain_grad), (ours, our_grad) = found
    assert torch.allclose(ours.float(), plain.float(), rtol=2**-7, atol=2**-7)
    assert torch.allclose(our_grad.float(), plain_grad.float(), rtol=2**-7, atol=2**-7)


def test_prepack_linear_keeps_hooks_and_restores_modules() -> None:
    base = make_tiny_base(dtype=torch.bfloat16)
    module = base.model.get_submodule("model.layers.0.mlp.up_proj")
    seen: list[int] = []
    handle = module.register_forward_hook(lambda *_: seen.append(1))
    with prepack_linear(base.model), prepack_linear(base.model):
        base.model(input_ids=torch.tensor([[1, 2, 3]]))
    handle.remove()
    assert seen == [1]
    assert all("forward" not in vars(m) for m in base.model.modules())


def test_prepack_linear_packs_nothing_if_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(8, 8).bfloat16().requires_grad_(False))
    monkeypatch.setattr(prepacked_linear, "get_free_bytes", lambda device: 100)
    with prepack_linear(model):
        assert "forward" not in vars(model[0])


def test_prepack_base_obeys_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    base, calls = make_tiny_base(), list[object]()
    monkeypatch.setattr(
        prepacked_linear, "prepack_linear", lambda model: calls.append(model) or nullcontext()
    )
    with prepack_base(replace(base, ways=Ways(prepacked=False))):
        assert not calls
    with prepack_base(base):
        assert calls == [base.model]


def test_prepack_linear_skips_trainable_and_fp32_layers() -> None:
    trained = nn.Linear(8, 8).bfloat16()
    wide = nn.Linear(8, 8).requires_grad_(False)
    for module in (trained, wide):
        with prepack_linear(nn.Sequential(module)):
            assert "forward" not in vars(module)


def test_prepack_linear_repacks_changed_weight() -> None:
    """Changed in place, and replaced by a weight that may have the same address as an earlier
    one."""
    torch.manual_seed(0)
    linear = nn.Linear(48, 80, bias=False).bfloat16().requires_grad_(False)
    if _pack_weight(linear) is None:
        pytest.skip("this processor or torch packs no bf16 matrices")
    x, kept = torch.randn(4, 48).bfloat16(), linear.weight.data

    def is_correct() -> bool:
        with prepack_linear(linear):
            ours = linear(x)
        return torch.allclose(ours.float(), linear(x).float(), rtol=2**-7, atol=2**-7)

    assert is_correct()
    with torch.no_grad():
        linear.weight.mul_(-1)
    assert is_correct()
    # Freed memory may be used again for the next weight.
    for factor in (2.0, 3.0, 4.0):
        linear.weight.data = kept * factor
        assert is_correct()
        linear.weight.data = kept
    assert is_correct()
