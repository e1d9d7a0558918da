"""Bases with the first layers of another base, at least one of each kind.

One layer of each kind shows what a family does, so most ways need not be tried on all layers. In a
narrow precision, small faults hide behind rounding. In float32 they do not, but a copy of all
weights would not fit into the memory.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from idiolect.models.base import Base
from idiolect.models.device import get_free_bytes
from idiolect.models.structure import find_decoder, find_layers, get_text_config

MIN_LAYERS, MAX_LAYERS = 2, 8
"""Bounds of the layers of the copy in float32."""
MAX_FREE_MEMORY_FRACTION = 0.25
"""The largest part of the free memory that the copy may take."""


def make_exact_base(base: Base) -> Base | None:
    """Return a base with copies of the first layers in float32, at least one of each kind.

    None if the base is in a wide precision itself, is quantized, or is too large.
    """
    weights = list(base.model.parameters())
    if base.quantization != "none" or not all(
        one.dtype in (torch.bfloat16, torch.float16) for one in weights
    ):
        return None
    with _leave_out_layers(base, MAX_LAYERS):
        numbers = sum(one.numel() for one in base.model.parameters())
        if 4 * numbers > get_free_bytes(base.device) * MAX_FREE_MEMORY_FRACTION:
            return None
        return replace(base, model=copy.deepcopy(base.model).float())


def make_short_base(base: Base) -> Base | None:
    """Return a base with the first layers, at least one of each kind, and the same weights in
    memory; None if that is all of them."""
    modules = len(list(base.model.modules()))
    with _leave_out_layers(base):
        if len(list(base.model.modules())) == modules:
            return None
        tensors = (*base.model.parameters(), *base.model.buffers())
        # What ``deepcopy`` takes for copied already stays as it is.
        return replace(base, model=copy.deepcopy(base.model, {id(one): one for one in tensors}))


@contextlib.contextmanager
def _leave_out_layers(base: Base, most: int | None = None) -> Iterator[None]:
    """Inside the context, the decoder has only its first layers, one of each kind among them if
    ``most`` allows."""
    decoder: Any = find_decoder(base.model)
    with contextlib.ExitStack() as changes:
        with contextlib.suppress(LookupError):
            name, layers = find_layers(decoder)
            setattr(decoder, name, layers[: _count_needed_layers(base, layers)][:most])
            changes.callback(setattr, decoder, name, layers)
        yield


def _count_needed_layers(base: Base, layers: nn.ModuleList) -> int:
    """Return how many of the first layers have one of each kind among them."""
    named = getattr(get_text_config(base.model), "layer_types", None) or [""] * len(layers)
    kinds = [
        (
            str(kind),
            *(type(part).__name__ for part in layer.modules()),
            *(tuple(one.shape) for one in layer.parameters()),
        )
        for kind, layer in zip(named, layers, strict=False)
    ]
    needed = max((kinds.index(kind) + 1 for kind in set(kinds)), default=0)
    return min(max(needed, MIN_LAYERS), len(layers))
