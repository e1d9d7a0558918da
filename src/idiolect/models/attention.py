"""An attention function for transformers that is fast on short sequences.

It differs from the eager attention of transformers in two ways. Query heads that share keys and
values are stacked in one product, so keys and values are not repeated. Keys and values of earlier
tokens (``front``) are a separate operand, so they need no gradients.

Shapes: ``B`` rows, ``H`` query heads in ``K`` groups that share keys and values, ``S`` tokens,
``P`` tokens in front of them, ``d`` width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from idiolect.errors import MismatchError
from idiolect.models.model_thread import claim_model
from idiolect.models.structure import find_decoder

NAME = "idiolect"
"""The value of ``attn_implementation`` that selects it."""

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
    """Return the attention output [B, S, H, d] of queries [B, H, S, d], keys and values
    [B, K, S, d], and None for the attention weights.

    ``attention_mask`` [B, 1, S, P + S] is added to the scores. There is no dropout, because the
    base is frozen. Raises MismatchError if the model passes other tensors (for example sinks).
    """
    reject_unknown_tensors(others)
    rows, heads, tokens, width = query.shape
    groups = key.shape[1]
    # The H / K query heads of a group are stacked along the token dimension: [B, K, H / K * S, d].
    grouped_query = (query * scaling).reshape(rows, groups, -1, width)
    scores = grouped_query @ key.transpose(2, 3)
    past = front[module.layer_idx] if front is not None else None
    if past is not None:
        past_keys_BKPd, _ = past
        scores = torch.cat([grouped_query @ past_keys_BKPd.transpose(2, 3), scores], dim=3)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    # The mask is the same for all heads: back to [B, H, S, P + S].
    scores = scores.view(rows, heads, tokens, -1)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1).view(rows, groups, heads // groups * tokens, -1)
    if past is None:
        output = weights @ value
    else:
        # Two products instead of one over concatenated values, which would copy the past.
        _, past_values_BKPd = past
        past_weights, own_weights = weights.split([past_values_BKPd.shape[2], tokens], dim=3)
        output = past_weights @ past_values_BKPd + own_weights @ value
    # Values may be narrower than queries (DeepSeek); some families view what they get as rows.
    return output.view(rows, heads, tokens, -1).transpose(1, 2).contiguous(), None


def reject_unknown_tensors(others: Mapping[str, object]) -> None:
    """Raise MismatchError if a model passes its attention a tensor that this module does not
    support."""
    for name, value in others.items():
        if isinstance(value, Tensor) and name not in _IGNORED_TENSORS:
            raise MismatchError(f"attention with {name!r} is not supported")


_operands: ContextVar[Mapping[str, Any]] = ContextVar("operands", default=MappingProxyType({}))
"""What the attention function needs besides queries, keys and values. It does not travel as keyword
arguments through the model: some families drop them, others do not accept them."""


def register_attention(name: str, attend: Callable[..., tuple[Tensor, None]]) -> None:
    """Let models select an attention function by name; it also gets the operands of
    ``use_attention`` as keyword arguments."""

    def attend_with_operands(*parts: Any, **options: Any) -> tuple[Tensor, None]:
        return attend(*parts, **options, **_operands.get())

    AttentionInterface.register(name, attend_with_operands)


@contextmanager
def use_attention(model: Any, name: str = NAME, **operands: object) -> Iterator[None]:
    """Inside the context, the model uses the attention function of this name, and the function gets
    the operands (``front``, ``spans`` or ``tree``). Raises BusyError if another thread uses
    the model."""
    with claim_model(model):
        # transformers looks the function up by name in each forward.
        config = find_decoder(model).config
        usual = config._attn_implementation
        config._attn_implementation = name
        given = _operands.set(operands)
        try:
            yield
        finally:
            _operands.reset(given)
            config._attn_implementation = usual


register_attention(NAME, attend_grouped)
AttentionMaskInterface.register(NAME, eager_mask)
