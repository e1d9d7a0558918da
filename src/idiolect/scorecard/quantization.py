"""Rounds a model's weights to a few bits, temporarily.

Unlearning that changes weights by less than the rounding step can be undone by quantization (Zhang
et al., 2024, arXiv:2410.16454). Rounding is to nearest and symmetric, with one step size per output
row or per group of columns. Embeddings and the output head are not rounded, as in common formats.

Shapes: ``O`` outputs, ``D`` inputs, ``G`` groups of a row, ``C`` columns of a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.linear import is_linear, orient_weight
from idiolect.models.model_thread import claim_model
from idiolect.models.quantization.modules import require_plain_base


def quantize_rows(weight_OD: Tensor, bits: int, *, group: int | None = None) -> Tensor:
    """Return the weight [O, D] rounded to ``bits``, with one step size per row, or per ``group``
    columns of it.

    Raises UsageError if ``group`` does not divide the number of columns.
    """
    if not 2 <= bits <= 16:
        raise UsageError(f"bits: must be from 2 to 16, got {bits}")
    width = weight_OD.shape[1]
    if group is not None and (group < 1 or width % group):
        raise UsageError(f"group: {width} columns are not divisible into groups of {group}")
    parts_OGC = weight_OD.float().reshape(weight_OD.shape[0], -1, group or width)
    max_level = 2 ** (bits - 1) - 1
    # The largest weight of a group gets the highest level. The clamp avoids 0 / 0 in empty groups.
    step_OG1 = parts_OGC.abs().amax(dim=-1, keepdim=True) / max_level
    step_OG1 = step_OG1.clamp_min(torch.finfo(torch.float32).tiny)
    rounded_OGC = (parts_OGC / step_OG1).round() * step_OG1
    return rounded_OGC.reshape(weight_OD.shape).to(weight_OD.dtype)


@contextmanager
def temporarily_quantize(base: Base, bits: int, *, group: int | None = None) -> Iterator[Base]:
    """Yield the base with its linear weights rounded in place, except the output head. They are
    restored afterwards."""
    require_plain_base(base, "rounding to a few bits")
    with claim_model(base.model):
        head = base.model.get_output_embeddings()
        originals: list[tuple[Any, Tensor]] = []
        try:
            for module in base.model.modules():
                if is_linear(module) and module is not head:
                    # The original tensor is kept, not a copy, so restoring is exact.
                    originals.append((module, module.weight.data))
                    weight_OD = orient_weight(module, module.weight.data)
                    rounded_OD = quantize_rows(weight_OD, bits, group=group)
                    module.weight.data = orient_weight(module, rounded_OD).contiguous()
            yield base
        finally:
            for module, weight in originals:
                module.weight.data = weight
