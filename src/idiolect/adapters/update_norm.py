"""The size of a LoRA update compared with the weight that it is added to, and the largest allowed.

An adapter of finite but huge numbers passes every other check, and then gives no usable answer.

Shapes: ``D``/``O`` input and output width of a module, ``R`` rank.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from idiolect.errors import IntegrityError
from idiolect.models.quantization.modules import restore_weight

MAX_NORM_RATIO = 1000.0
"""The largest Frobenius norm of an update, in norms of the weight. Training at the default rate
gives about 0.01, at 50 times that rate 5, at 500 times (which learns nothing) 412."""

_weight_norms: WeakKeyDictionary[nn.Module, tuple[Tensor, int, float]] = WeakKeyDictionary()
"""By module: its weight, the weight's version, and the norm."""


def compute_update_norm(a_RD: Tensor, b_OR: Tensor, scale: float) -> float:
    """Return the Frobenius norm of ``scale * B A``, without building the product."""
    # ||B A||^2 = trace(A A^T B^T B): two small matrices.
    wide_a, size_a = _scale_to_one(a_RD)
    wide_b, size_b = _scale_to_one(b_OR)
    squared = ((wide_a @ wide_a.T) * (wide_b.T @ wide_b)).sum()
    return abs(scale) * float(squared.clamp_min(0).sqrt()) * size_a * size_b


def _scale_to_one(matrix: Tensor) -> tuple[Tensor, float]:
    """Return a matrix divided by its largest entry (fp64), so that squares do not overflow, and
    that entry."""
    wide = matrix.detach().double()
    size = float(wide.abs().max()) or 1.0
    return wide / size, size


def require_bounded_update(
    model: Any, path: str, pair: tuple[Tensor, Tensor], scale: float, *, what: str
) -> None:
    """Raise IntegrityError if a pair (A [R, D], B [O, R]) is not finite, or if its update is more
    than ``MAX_NORM_RATIO`` times as large as the module's weight.

    ``what`` names the owner of the pair in the message.
    """
    a_RD, b_OR = pair
    if not (torch.isfinite(a_RD).all() and torch.isfinite(b_OR).all()):
        raise IntegrityError(f"{what} {path}: contains a number that is not finite")
    ratio = compute_update_norm(a_RD, b_OR, scale) / _get_weight_norm(model.get_submodule(path))
    # ``not`` also catches NaN.
    if not ratio <= MAX_NORM_RATIO:
        raise IntegrityError(
            f"{what} {path}: its update is {ratio:.3g} times as large as the base's weight, at "
            f"most {MAX_NORM_RATIO:g} times is allowed; it is damaged or hostile, so do not use "
            "it, or train it again at a lower train.rate"
        )


def _get_weight_norm(module: Any) -> float:
    """Return the Frobenius norm of a module's weight, at least 1; computed once per weight."""
    weight = module.weight.detach()
    found = _weight_norms.get(module)
    # The kept reference keeps the memory in use, so an equal address means the same weight.
    if (
        found is None
        or found[0].data_ptr() != weight.data_ptr()
        or found[1] != module.weight._version
    ):
        matrix = restore_weight(module)
        wide = torch.float64 if matrix.dtype == torch.float64 else torch.float32
        norm = float(torch.linalg.vector_norm(matrix, dtype=wide))
        found = (weight, module.weight._version, max(norm, 1.0))
        _weight_norms[module] = found
    return found[2]
