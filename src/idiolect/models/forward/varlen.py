"""One forward of rows of different lengths, concatenated without padding.

Attention is a transformers attention function (see ``attention.py``). It uses torch's variable
length kernel if it supports the queries, else one row after another. No mask over all tokens is
built.

Shapes: ``B`` rows with ``N`` tokens in total, ``H`` query heads in ``K`` groups that share keys and
values, ``d`` width of a head, ``D`` width of the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from idiolect.models import attention
from idiolect.models.base import Base
from idiolect.models.structure import find_decoder

NAME = "idiolect-varlen"
"""The value of ``attn_implementation`` that selects it. No mask function is registered under this
name, so transformers builds no mask."""

MAX_HEAD_DIM = 256
"""The kernel's limit; it also needs a multiple of 8."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequences:
    """The lengths and offsets of concatenated rows."""

    lengths: tuple[int, ...]
    """The number of tokens of each row, at least one."""
    cu_seqlens: Tensor
    """The start of each row and the end of the last [B + 1], int32."""
    positions: Tensor
    """Each token's position in its own row [N]."""

    @classmethod
    def from_lengths(cls, lengths: Sequence[int], device: torch.device) -> PackedSequences:
        """Build the offsets of rows of these lengths, in order."""
        assert lengths and all(lengths)
        bounds = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        positions = torch.cat([torch.arange(length) for length in lengths]).to(device)
        return cls(tuple(lengths), bounds, positions)


def forward_packed(base: Base, ids: Tensor, spans: PackedSequences) -> Tensor:
    """Return the decoder's hidden states [N, D] of tokens [N]; check
    ``partial.has_full_attention`` first. Raises MismatchError if packed rows are wrong for the
    base."""
    base.require_way("packed")
    decoder: Any = find_decoder(base.model)
    with attention.use_attention(base.model, NAME, spans=spans):
        hidden = decoder(
            input_ids=ids[None],
            position_ids=spans.positions[None],
            use_cache=False,
        ).last_hidden_state
    return hidden[0]


def attend_packed(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    spans: PackedSequences,
    softcap: float | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """Return the attention output [1, N, H, d], each token over its own row, of queries
    [1, H, N, d], keys and values [1, K, N, d]. Raises the same errors as
    ``attention.attend_grouped``."""
    attention.reject_unknown_tensors({"attention_mask": attention_mask, **others})
    # The kernel has no soft cap.
    kernel = find_kernel(query) if softcap is None else None
    if kernel is None:
        return _attend_sequentially(module, query, key, value, spans, scaling, softcap), None
    longest = max(spans.lengths)
    output_NHd = kernel(
        *(part[0].transpose(0, 1) for part in (query, key, value)),
        spans.cu_seqlens,
        spans.cu_seqlens,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=True,
    )
    return output_NHd[None], None


def find_kernel(query: Tensor) -> Callable[..., Tensor] | None:
    """Return torch's variable length attention if it supports these queries [1, H, N, d], else
    None."""
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return None
    # Limits of the flash attention kernel.
    if query.shape[3] > MAX_HEAD_DIM or query.shape[3] % 8:
        return None
    if torch.cuda.get_device_capability(query.device) < (8, 0):
        return None
    return cast("Callable[..., Tensor]", varlen_attn) if _has_kernel_options() else None


@cache
def _has_kernel_options() -> bool:
    """Whether this torch's kernel has the options used here; older ones lack grouped queries."""
    return {"scale", "window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters)


def _attend_sequentially(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spans: PackedSequences,
    scaling: float,
    softcap: float | None,
) -> Tensor:
    """The simple implementation [1, N, H, d]: one row after another."""
    rows = zip(*(part.split(spans.lengths, dim=2) for part in (query, key, value)), strict=True)
    outputs: list[Tensor] = []
    for q, k, v in rows:
        size = (q.shape[2], q.shape[2])
        # The additive causal mask of one row.
        lowest = torch.finfo(q.dtype).min
        causal = torch.full(size, lowest, dtype=q.dtype, device=q.device).triu(1)
        outputs.append(
            attention.attend_grouped(module, q, k, v, causal, scaling=scaling, softcap=softcap)[0]
        )
    return torch.cat(outputs, dim=1)


attention.register_attention(NAME, attend_packed)
