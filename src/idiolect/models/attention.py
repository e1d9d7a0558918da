"""Attention for training at short lengths, as one of transformers' attention functions.

What it does better than the plain one: heads that share keys and values stand beside each other in
one product, so nothing is repeated; and keys and values of earlier tokens (``front``) are a part of
their own, which costs no gradients where they need none.

Shapes: ``B`` rows, ``H`` heads in ``K`` groups that share keys and values, ``S`` tokens, ``P``
tokens in front of them, ``d`` the width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from idiolect.errors import MismatchError

NAME = "idiolect"
"""What ``attn_implementation`` is called with."""

PastKeyValues = Mapping[int, tuple[Tensor, Tensor]]
"""By layer, the keys and values [B, K, P, d] of the tokens in front."""

_IGNORED_TENSORS = ("position_ids", "cache_position", "cu_seq_lens_q", "cu_seq_lens_k")


def attend_grouped(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    softcap: float | None = None,
    front: PastKeyValues | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """What every token sees [B, S, H, d], from queries [B, H, S, d], keys and values [B, K, S, d].

    ``attention_mask``: added to scores, [B, 1, S, P + S]. No dropout: the base is frozen.
    Raises MismatchError for a model whose attention takes more (sinks, say).
    """
    reject_unknown_tensors(others)
    rows, heads, tokens, width = query.shape
    groups = key.shape[1]
    grouped = (query * scaling).reshape(rows, groups, -1, width)
    scores = grouped @ key.transpose(2, 3)
    before = front[module.layer_idx] if front is not None else None
    if before is not None:
        scores = torch.cat([grouped @ before[0].transpose(2, 3), scores], dim=3)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.view(rows, heads, tokens, -1)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1).view(rows, groups, heads // groups * tokens, -1)
    if before is None:
        seen = weights @ value
    else:
        theirs, own = weights.split([before[1].shape[2], tokens], dim=3)
        seen = theirs @ before[1] + own @ value
    return seen.view(rows, heads, tokens, width).transpose(1, 2), None


def reject_unknown_tensors(others: Mapping[str, object]) -> None:
    """Raises MismatchError where a model hands its attention a tensor that is not known here."""
    for name, value in others.items():
        if isinstance(value, Tensor) and name not in _IGNORED_TENSORS:
            raise MismatchError(f"an attention with {name!r} is not supported here")


@contextmanager
def use_attention(model: Any, name: str = NAME) -> Iterator[None]:
    """While inside, the model attends with ``attend``, or with the function of another name."""
    usual = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = usual


AttentionInterface.register(NAME, attend_grouped)
AttentionMaskInterface.register(NAME, eager_mask)
