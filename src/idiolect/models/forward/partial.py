"""Partial forward passes: from a later token on, or from a higher layer on.

Earlier results (keys and values of earlier tokens, activations at the lower boundary of a layer)
come from an earlier forward, possibly of another batch. The output equals that of a full forward up
to rounding.

Shapes: ``B`` rows, ``K`` key-value heads, ``P`` tokens in front, ``S`` tokens that run, ``d`` width
of a head, ``D`` width of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.models import attention
from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base
from idiolect.models.structure import find_attention_span, find_decoder, find_layers


@dataclass(frozen=True, slots=True)
class PartialForwardOutput:
    """The results of a partial forward."""

    hidden: Tensor
    """The decoder's output [B, S, D]."""
    new_key_values: PastKeyValues
    """By layer, the keys and values [B, K, S, d] of the tokens that ran."""
    boundary_hidden: Tensor
    """The output of the last layer that ran [B, S, D], before the final norm."""


class _KeyValueRecorder:
    """Takes the place of transformers' cache: records new keys and values, and adds no old ones."""

    is_compileable = False
    is_sliding = (False,)

    def __init__(self) -> None:
        self.new_key_values: dict[int, tuple[Tensor, Tensor]] = {}

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Record and return the new keys and values; the attention function adds those in
        front."""
        self.new_key_values[layer] = (keys, values)
        return keys, values


def forward_part(
    base: Base,
    ids: Tensor,
    starts: Tensor,
    *,
    front: PastKeyValues | None = None,
    edge: Tensor | None = None,
    first: int = 0,
    until: int | None = None,
) -> PartialForwardOutput:
    """Run tokens [B, S], right-padded, at the positions from ``starts`` [B] on.

    ``front``: keys and values [B, K, P, d] of each row's tokens before its start; entries after
    them are ignored. ``edge`` [B, S, D]: the input of layer ``first``; only layers from there on
    run. ``until``: only layers before this one run. Check ``has_full_attention`` of the longest row
    first. Raises MismatchError if such partial forwards are wrong for the base.
    """
    base.require_way("prefix" if edge is None else "layers")
    decoder: Any = find_decoder(base.model)
    width = ids.shape[1]
    # ``longest`` is P, the width of the keys and values in front.
    longest = int(starts.max()) if front is not None else 0
    recorder, boundary = _KeyValueRecorder(), list[Tensor]()
    with (
        attention.use_attention(base.model, front=front),
        _select_layers(decoder, first, until, edge, boundary),
    ):
        hidden_BSD = decoder(
            **({"input_ids": ids} if edge is None else {"inputs_embeds": edge}),
            attention_mask=_build_mask(base, starts, longest, width),
            position_ids=starts[:, None] + torch.arange(width, device=ids.device),
            past_key_values=recorder,
            use_cache=False,
        ).last_hidden_state
    return PartialForwardOutput(hidden_BSD, recorder.new_key_values, boundary[0])


def has_full_attention(base: Base, tokens: int) -> bool:
    """Whether all layers attend to all of ``tokens`` tokens through a supported attention."""
    span = find_attention_span(base.model)
    return base.ways.attention and (span is None or tokens <= span)


def _build_mask(base: Base, starts: Tensor, longest: int, width: int) -> Tensor:
    """Return the additive attention mask [B, 1, S, P + S]: each token attends to the tokens in
    front of its row and to the row's own tokens up to itself."""
    device, rows = base.device, len(starts)
    past_BP = torch.arange(longest, device=device) < starts.to(device)[:, None]
    causal_SS = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    visible = torch.cat(
        [past_BP[:, None].expand(rows, width, longest), causal_SS.expand(rows, width, width)],
        dim=2,
    )
    lowest = torch.finfo(base.dtype).min
    mask = torch.zeros(rows, 1, width, longest + width, dtype=base.dtype, device=device)
    return mask.masked_fill_(~visible[:, None], lowest)


@contextmanager
def _select_layers(
    decoder: Any, first: int, until: int | None, edge: Tensor | None, boundary: list[Tensor]
) -> Iterator[None]:
    """Inside the context, the decoder has only layers ``first`` to ``until``. The first of them
    gets ``edge`` as input if it is given; the output of the last is appended to ``boundary``."""
    name, layers = find_layers(decoder)
    selected = layers[first:until]
    # The hook runs before the decoder's final norm.
    handles = [
        selected[-1].register_forward_hook(
            lambda module, inputs, out: boundary.append(_get_hidden(out))
        )
    ]
    if edge is not None:
        # A hook sets the input, because families differ in what they do to the embeddings.
        handles.append(
            selected[0].register_forward_pre_hook(lambda module, inputs: (edge, *inputs[1:]))
        )
    setattr(decoder, name, selected)
    try:
        yield
    finally:
        setattr(decoder, name, layers)
        for handle in handles:
            handle.remove()


def _get_hidden(out: Any) -> Tensor:
    """Return a layer's hidden states; some families return them in a tuple."""
    return out[0] if isinstance(out, tuple) else out
