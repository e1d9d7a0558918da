"""Bounds what one person can contribute to a mean, and adds noise to it.

Shapes: ``n`` people, ``P`` numbers of all B together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from idiolect.adapters.arithmetic.directions import flatten_b, replace_b, require_shared_a
from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import UsageError
from idiolect.training.private.noise import DrawNoise, draw_secure_noise


@dataclass(frozen=True, kw_only=True)
class NoisyMean:
    """A mean with noise."""

    mean: LoraAdapter
    clipped: int
    """Number of people whose B was shortened."""
    noise_share: float
    """Expected norm of the noise over the largest norm that the mean can have."""


def clip_updates(
    adapters: Sequence[LoraAdapter], clip: float | None
) -> tuple[list[LoraAdapter], float, int]:
    """Shorten updates to the norm ``clip``, or to the median of their norms.

    Returns the adapters, the bound, and how many were shortened. Raises UsageError if there are no
    adapters.
    """
    if not adapters:
        raise UsageError("no adapters to average; name people who share an adapter")
    norms = [_measure_update(one) for one in adapters]
    bound = median(norms) if clip is None else clip
    some = [
        replace_b(one, flatten_b(one) * (bound / norm)) if norm > bound else one
        for one, norm in zip(adapters, norms, strict=True)
    ]
    return some, bound, sum(norm > bound for norm in norms)


def make_private_mean(
    adapters: Sequence[LoraAdapter],
    clip: float,
    multiplier: float,
    draw_noise: DrawNoise = draw_secure_noise,
) -> NoisyMean:
    """Return the mean of B with noise for person-level differential privacy.

    Each person's B is shortened to the norm ``clip``; one person then changes the sum by at most
    ``clip``. The number of people counts as public. The noise grows with the root of the number of
    trained numbers, so a useful mean needs thousands of people, or small adapters.
    """
    require_shared_a(adapters)
    rows_nP = torch.stack([flatten_b(one) for one in adapters]).double()
    norms_n1 = torch.linalg.vector_norm(rows_nP, dim=1, keepdim=True)
    sum_P = (rows_nP * (clip / norms_n1.clamp_min(1e-300)).clamp_max(1.0)).sum(dim=0)
    count, size = rows_nP.shape
    noise_P = draw_noise(size, multiplier * clip)
    mean = replace_b(adapters[0], (sum_P + noise_P) / count)
    return NoisyMean(
        mean=replace(mean, config=replace(mean.config, shared_a=True)),
        clipped=int((norms_n1 > clip).sum()),
        noise_share=multiplier * size**0.5 / count,
    )


def _measure_update(adapter: LoraAdapter) -> float:
    """Return the Frobenius norm of all updates ``scale B A`` together."""
    total = 0.0
    for a, b in adapter.pairs.values():
        # ||B A||^2 = trace(B^T B A A^T): two small matrices instead of the update.
        a, b = a.double(), b.double()
        total += float(((b.T @ b) * (a @ a.T)).sum())
    return adapter.config.scale * max(0.0, total) ** 0.5
