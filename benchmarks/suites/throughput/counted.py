"""The operations that training requires, and the peak rate of this machine's matrix products.

The count is the minimum for exact training: each token through each matrix of the decoder, in the
forward pass and for the gradient of the activations (2N + 2N operations; the base is frozen, so
weights have no gradient), and only the target tokens through the output head. Attention scores,
norms and the adapters themselves (at most 1%) do not count. Padding, recomputation and unused
logits do not count either, so a method that computes them has a lower rate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from idiolect.models.base import Base
from idiolect.models.structure import get_text_config

MOST_TOKENS = 2048


def count_parameters(model: Any) -> tuple[int, int]:
    """Return the parameters of the decoder's matrices and of the output head."""
    head = model.get_output_embeddings()
    linear = (m for m in model.modules() if isinstance(m, nn.Linear) and m is not head)
    return sum(m.weight.numel() for m in linear), head.weight.numel()


def count_operations(model: Any, tokens: int, targets: int) -> int:
    """Return the operations of training on this number of tokens and target tokens."""
    body, head = count_parameters(model)
    return 4 * (body * tokens + head * targets)


@dataclass(frozen=True, slots=True)
class MatmulPeak:
    """The best rate of one matrix product, in operations per second."""

    what: str
    rate: float


def iter_matmul_peaks(
    base: Base, *, seconds: float = 1.0, large: int = 4096
) -> Iterator[MatmulPeak]:
    """Yield the peak rates of the model's own matrix products and of a large square one.

    Products are [T, D] x [D, O] in the base's dtype. Each rate is the best of the repetitions that
    fit into ``seconds``, at least three.
    """
    config = get_text_config(base.model)
    # The shapes of the model with a full batch of tokens; the head sees target tokens only.
    width, inner = config.hidden_size, config.intermediate_size
    rows = MOST_TOKENS
    sizes = {
        "attention": (rows, width, width),
        "MLP up": (rows, width, inner),
        "MLP down": (rows, inner, width),
        "head": (rows // 8, width, config.vocab_size),
        "large": (large, large, large),
    }
    for name, (m, k, n) in sizes.items():
        yield MatmulPeak(f"{name} [{m}, {k}] x [{k}, {n}]", _measure_rate(base, m, k, n, seconds))


def _measure_rate(base: Base, m: int, k: int, n: int, seconds: float) -> float:
    one = torch.randn(m, k, device=base.device).to(base.dtype)
    other = torch.randn(n, k, device=base.device).to(base.dtype)
    best, runs, started = float("inf"), 0, time.perf_counter()
    while runs < 4 or time.perf_counter() - started < seconds:
        at = time.perf_counter()
        torch.nn.functional.linear(one, other)
        if base.device.type == "cuda":
            torch.cuda.synchronize()
        runs += 1
        # The first run is a warm-up.
        if runs > 1:
            best = min(best, time.perf_counter() - at)
    return 2 * m * k * n / best
