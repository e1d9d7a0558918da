"""A model's weights rounded to few bits, for as long as it is looked at.

Unlearning that changes weights by less than rounding does comes back when a model is quantized
(Zhang et al., 2024, arXiv:2410.16454). Round to nearest, symmetric, one step size an output row or
group of columns; embeddings and output head stay as they are, as they do in common formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from idiolect.errors import UsageError
from idiolect.models.base import Base


def quantize_rows(weight: Tensor, bits: int, *, group: int | None = None) -> Tensor:
    """The weight [O, D] rounded to ``bits``, with one step size a row, or ``group`` columns of it.

    Raises UsageError for a group that the columns cannot be divided into.
    """
    if not 2 <= bits <= 16:
        raise UsageError(f"bits: must be from 2 to 16, got {bits}")
    width = weight.shape[1]
    if group is not None and (group < 1 or width % group):
        raise UsageError(f"group: {width} columns cannot be divided into groups of {group}")
    parts = weight.float().reshape(weight.shape[0], -1, group or width)
    top = 2 ** (bits - 1) - 1
    step = (parts.abs().amax(dim=-1, keepdim=True) / top).clamp_min(torch.finfo(torch.float32).tiny)
    return ((parts / step).round() * step).reshape(weight.shape).to(weight.dtype)


@contextmanager
def temporarily_quantize(base: Base, bits: int, *, group: int | None = None) -> Iterator[Base]:
    """The base with all linear weights but the head's rounded, in place; as it was afterwards."""
    head = base.model.get_output_embeddings()
    kept: list[tuple[nn.Linear, Tensor]] = []
    try:
        for module in base.model.modules():
            if isinstance(module, nn.Linear) and module is not head:
                kept.append((module, module.weight.data))
                module.weight.data = quantize_rows(module.weight.data, bits, group=group)
        yield base
    finally:
        for module, weight in kept:
            module.weight.data = weight
