"""Packed rows equal each row alone, and torch's kernel gets the arguments that it documents."""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from idiolect.errors import MismatchError
from idiolect.models.base import Base
from idiolect.models.forward import varlen
from idiolect.models.forward.varlen import (
    PackedSequences,
    attend_packed,
    find_kernel,
    forward_packed,
)
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base

CPU = torch.device("cpu")
lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


def emulate_kernel(
    query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **options: Any
) -> Tensor:
    """Compute what torch documents for its kernel with plain attention; accepts only its
    arguments."""
    call = inspect.signature(varlen_attn).bind(query, key, value, *arguments, **options)
    given = call.arguments
    # Causal attention over rows with the same bounds for queries and keys.
    assert given["window_size"] == (-1, 0) and given["enable_gqa"]
    assert given["cu_seq_q"].dtype == torch.int32
    bounds = given["cu_seq_q"].tolist()
    assert bounds == given["cu_seq_k"].tolist() and bounds[-1] == query.shape[0]
    assert given["max_q"] == given["max_k"] == max(b - a for a, b in pairwise(bounds))
    out: list[Tensor] = []
    for start, end in pairwise(bounds):
        q, k, v = (part[start:end].transpose(0, 1) for part in (query, key, value))
        seen = scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=given["scale"], enable_gqa=True
        )
        out.append(seen.transpose(0, 1))
    return torch.cat(out)


def make_inputs(tokens: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [1, 4, N, 8], keys and values [1, 2, N, 8], with gradients."""
    g = torch.Generator().manual_seed(seed)
    sizes = ((1, 4, tokens, 8), (1, 2, tokens, 8), (1, 2, tokens, 8))
    query, key, value = (torch.randn(s, generator=g, dtype=torch.float64) for s in sizes)
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


@settings(max_examples=30)
@given(lengths=lengths, seed=st.integers(0, 99))
def test_attend_packed_kernel_equals_sequential(lengths: list[int], seed: int) -> None:
    spans, parts = PackedSequences.from_lengths(lengths, CPU), make_inputs(sum(lengths), seed)
    found: list[list[Tensor]] = []
    with pytest.MonkeyPatch.context() as patch:
        # Outputs and gradients, once row by row and once through the kernel's interface.
        for kernel in (None, emulate_kernel):
            patch.setattr(varlen, "find_kernel", lambda query, kernel=kernel: kernel)
            seen, _ = attend_packed(None, *parts, None, scaling=0.3, spans=spans)
            assert seen.shape == (1, sum(lengths), 4, 8)
            found.append([seen, *torch.autograd.grad(seen.square().sum(), parts)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@torch.no_grad()
@settings(max_examples=30)
@given(lengths=lengths, seed=st.integers(0, 99))
def test_forward_packed_equals_each_row_alone(base: Base, lengths: list[int], seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, 200, (length,), generator=g) for length in lengths]
    hidden = forward_packed(base, torch.cat(rows), PackedSequences.from_lengths(lengths, CPU))
    decoder = find_decoder(base.model)
    for row, found in zip(rows, hidden.split(lengths), strict=True):
        alone = decoder(input_ids=row[None], use_cache=False).last_hidden_state[0]
        assert torch.allclose(found, alone, atol=1e-6)  # norms round to fp32


def test_attend_packed_applies_softcap_without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has no soft cap, so it must not be used."""
    monkeypatch.setattr(varlen, "find_kernel", lambda query: pytest.fail("kernel requested"))
    parts, spans = make_inputs(5, 0), PackedSequences.from_lengths([2, 3], CPU)
    capped, _ = attend_packed(None, *parts, None, scaling=1.0, spans=spans, softcap=0.1)
    monkeypatch.setattr(varlen, "find_kernel", lambda query: None)
    free, _ = attend_packed(None, *parts, None, scaling=1.0, spans=spans)
    assert not torch.allclose(capped, free, atol=1e-3)


def test_attend_packed_rejects_unknown_tensors() -> None:
    parts, spans = make_inputs(3, 0), PackedSequences.from_lengths([3], CPU)
    with pytest.raises(MismatchError, match="s_aux"):
        attend_packed(None, *parts, None, scaling=1.0, spans=spans, s_aux=torch.zeros(4))


def test_find_kernel_returns_none_on_cpu() -> None:
    assert find_kernel(torch.zeros(1, 4, 3, 64, dtype=torch.bfloat16)) is None


@pytest.mark.parametrize(
    ("dtype", "width", "capability", "there"),
    [
        (torch.bfloat16, 64, (9, 0), True),
        (torch.float16, 64, (8, 0), True),
        (torch.float32, 64, (9, 0), False),
        (torch.bfloat16, 60, (9, 0), False),
        (torch.bfloat16, 320, (9, 0), False),
        (torch.bfloat16, 64, (7, 5), False),
    ],
)
def test_find_kernel_checks_dtype_width_and_capability(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    width: int,
    capability: tuple[int, int],
    there: bool,
) -> None:
    class Query:
        """Stands in for a tensor on a GPU."""

        device = torch.device("cuda")
        shape = (1, 4, 3, width)

    Query.dtype = dtype  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(varlen, "_has_kernel_options", lambda: True)
    assert (find_kernel(Query()) is varlen_attn) is there  # type: ignore[arg-type]
    monkeypatch.setattr(varlen, "_has_kernel_options", lambda: False)
    assert find_kernel(Query()) is None  # type: ignore[arg-type]
