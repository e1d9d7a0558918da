"""A forward of rows of any length that stand one behind another, without padding between them.

Attention is one of transformers' attention functions again (as ``attention.py``): torch's kernel
for such rows where there is one, else one row after another. Nobody builds a mask over all tokens
at once.

Shapes: ``B`` rows of ``N`` tokens together, ``H`` heads in ``K`` groups that share keys and values,
``d``/``D`` widths of a head and of the model.
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
from transformers import AttentionInterface

from idiolect.models import attention
from idiolect.models.base import Base

NAME = "idiolect-varlen"
"""What ``attn_implementation`` is called with. No mask function goes by this name, so transformers
makes no mask."""

MAX_HEAD_DIM = 256
"""Of the kernel; it wants widths that are multiples of 8, too."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequences:
    """Where each row stands."""

    lengths: tuple[int, ...]
    """Tokens of each row, at least one."""
    cu_seqlens: Tensor
    """Where each begins, and where the last ends [B + 1], int32."""
    positions: Tensor
    """Each token's position in its own row [N]."""

    @classmethod
    def from_lengths(cls, lengths: Sequence[int], device: torch.device) -> PackedSequences:
        """Rows of these lengths, one behind another."""
        assert lengths and all(lengths)
        bounds = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        positions = torch.cat([torch.arange(length) for length in lengths]).to(device)
        return cls(tuple(lengths), bounds, positions)


def forward_packed(base: Base, ids: Tensor, spans: PackedSequences) -> Tensor:
    """The decoder's hidden states [N, D] of tokens [N]; ask ``partial.sees_all`` first."""
    decoder: Any = base.model.get_decoder()
    with attention.use_attention(base.model, NAME):
        hidden = decoder(
            input_ids=ids[None],
            position_ids=spans.positions[None],
            use_cache=False,
            spans=spans,
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
    """What every token sees of its own row [1, N, H, d], from queries [1, H, N, d], keys and values
    [1, K, N, d]; as ``attention.attend``, which says what is refused."""
    assert attention_mask is None
    attention.reject_unknown_tensors(others)
    kernel = find_kernel(query) if softcap is None else None
    if kernel is None:
        return _attend_sequentially(module, query, key, value, spans, scaling, softcap), None
    longest = max(spans.lengths)
    seen = kernel(
        *(part[0].transpose(0, 1) for part in (query, key, value)),
        spans.cu_seqlens,
        spans.cu_seqlens,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=True,
    )
    return seen[None], None


def find_kernel(query: Tensor) -> Callable[..., Tensor] | None:
    """Torch's own attention over such rows, where it takes these queries [1, H, N, d]."""
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return None
    if query.shape[3] > MAX_HEAD_DIM or query.shape[3] % 8:
        return None
    if torch.cuda.get_device_capability(query.device) < (8, 0):
        return None
    return cast("Callable[..., Tensor]", varlen_attn) if _has_kernel_options() else None


@cache
def _has_kernel_options() -> bool:
    """Whether this torch's kernel has what is asked of it here: older ones share no keys."""
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
    """The obvious way [1, N, H, d]."""
    rows = zip(*(part.split(spans.lengths, dim=2) for part in (query, key, value)), strict=True)
    seen: list[Tensor] = []
    for q, k, v in rows:
        size = (q.shape[2], q.shape[2])
        lowest = torch.finfo(q.dtype).min
        later = torch.full(size, lowest, dtype=q.dtype, device=q.device).triu(1)
        seen.append(
            attention.attend_grouped(module, q, k, v, later, scaling=scaling, softcap=softcap)[0]
        )
    return torch.cat(seen, dim=1)


AttentionInterface.register(NAME, attend_packed)
