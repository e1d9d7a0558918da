"""Parts of a forward: from a later token on, from a higher layer on.

What stands before (keys and values of earlier tokens, activations at the lower edge of a layer) was
run already, alone or in the company of others. The mathematics is that of the whole forward.

Shapes: ``B`` rows, ``K`` heads of keys, ``P`` tokens in front, ``S`` tokens that run, ``d``/``D``
widths of a head and of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.errors import UsageError
from idiolect.models import attention
from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base


@dataclass(frozen=True, slots=True)
class PartialForwardOutput:
    """What a part of a forward left."""

    hidden: Tensor
    """What the decoder gave [B, S, D]."""
    new_key_values: PastKeyValues
    """By layer, the tokens' own keys and values [B, K, S, d]."""
    boundary_hidden: Tensor
    """What the last layer that ran gave [B, S, D], no norm applied."""


class _KeyValueRecorder:
    """Stands where transformers expects a cache: notes keys and values, adds none."""

    is_compileable = False
    is_sliding = (False,)

    def __init__(self) -> None:
        self.new_key_values: dict[int, tuple[Tensor, Tensor]] = {}

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """The tokens' own keys and values; attention puts the others in front."""
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
    """Run tokens [B, S], right-padded, that start at the positions ``starts`` [B].

    ``front``: keys and values of each row's tokens before its start, anything behind them. With
    ``edge`` [B, S, D] the layers from ``first`` on run, from it; with ``until`` those before it.
    Raises UsageError where layers do not see all tokens.
    """
    decoder: Any = base.model.get_decoder()
    width = ids.shape[1]
    longest = int(starts.max()) if front is not None else 0
    require_full_attention(base, longest + width)
    notes, left = _KeyValueRecorder(), list[Tensor]()
    with attention.use_attention(base.model), _select_layers(decoder, first, until, edge, left):
        hidden = decoder(
            **({"input_ids": ids} if edge is None else {"inputs_embeds": edge}),
            attention_mask=_build_mask(base, starts, longest, width),
            position_ids=starts[:, None] + torch.arange(width, device=ids.device),
            past_key_values=notes,
            use_cache=False,
            front=front,
        ).last_hidden_state
    return PartialForwardOutput(hidden, notes.new_key_values, left[0])


def has_full_attention(base: Base, tokens: int) -> bool:
    """Whether all layers see all of so many tokens, in a way that is known here."""
    config = base.model.config
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"]
    slides = window and tokens > window and any(kind != "full_attention" for kind in kinds)
    return base.supports_custom_attention and not slides


def require_full_attention(base: Base, tokens: int) -> None:
    """Raises UsageError where ``sees_all`` says no."""
    if not has_full_attention(base, tokens):
        raise UsageError(
            f"layers of {base.name} do not attend to all of {tokens} tokens alike; "
            "give shorter prompts (prompt.max_tokens), or use lora.active 'all' with "
            "lora.top_layers 0"
        )


def _build_mask(base: Base, starts: Tensor, longest: int, width: int) -> Tensor:
    """What is added to attention scores [B, 1, S, P + S]: a row sees the tokens in front of it and
    its own earlier ones."""
    device, rows = base.device, len(starts)
    behind = torch.arange(longest, device=device) < starts.to(device)[:, None]  # [B, P]
    causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    seen = torch.cat(
        [behind[:, None].expand(rows, width, longest), causal.expand(rows, width, width)], dim=2
    )
    lowest = torch.finfo(base.dtype).min
    mask = torch.zeros(rows, 1, width, longest + width, dtype=base.dtype, device=device)
    return mask.masked_fill_(~seen[:, None], lowest)


@contextmanager
def _select_layers(
    decoder: Any, first: int, until: int | None, edge: Tensor | None, left: list[Tensor]
) -> Iterator[None]:
    """While inside, the decoder has some of its layers, starts from an edge if there is one, and
    puts what the last of them gives into ``left``."""
    layers = decoder.layers
    some = layers[first:until]
    handles = [
        some[-1].register_forward_hook(lambda module, inputs, out: left.append(_get_hidden(out)))
    ]
    if edge is not None:
        # Set by a hook, since what a decoder does to embeddings differs from family to family.
        handles.append(
            some[0].register_forward_pre_hook(lambda module, inputs: (edge, *inputs[1:]))
        )
    decoder.layers = some
    try:
        yield
    finally:
        decoder.layers = layers
        for handle in handles:
            handle.remove()


def _get_hidden(out: Any) -> Tensor:
    """A layer's hidden states, which some families give with more."""
    return out[0] if isinstance(out, tuple) else out
