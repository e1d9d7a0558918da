"""Computes the memory that training and serving need on a base. Nothing is measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from idiolect.inference.nll import LOGIT_CHUNK_TOKENS
from idiolect.training.base_report.model_sizes import ModelSizes
from idiolect.training.engine.config import MIN_FORWARD_TOKENS
from idiolect.training.engine.memory_plan import MIN_SLOTS, SLOT_BYTES

Precision = Literal["bf16", "nf4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ROW_TOKENS = 512
"""Length of a training row: the default of ``prompt.max_tokens``."""
SERVE_TOKENS = 2048
"""Tokens of one conversation that is answered."""
_BF16, _FP32 = 2, 4
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight: 4 bits, and a scale for 64 weights in 8 bits, which has a scale for 256."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes, computed from the sizes of a model; libraries need up to 1 GB more."""

    precision: Precision
    base: int
    """The weights, once."""
    person: int
    """One person in training: the adapter, its gradient, the optimizer's state, and a copy."""
    train: int
    """The whole of training: the weights, ``MIN_SLOTS`` people, and one forward of
    ``MIN_FORWARD_TOKENS`` tokens in rows of ``ROW_TOKENS``, with its backward."""
    serve: int
    """The whole of serving: the weights, one adapter, and one conversation of ``SERVE_TOKENS``
    tokens. Each more person at once takes an adapter and a conversation more."""


def estimate_memory(sizes: ModelSizes, precision: Precision, adapter: int) -> MemoryEstimate:
    """Compute the memory for a base.

    Args:
        sizes: the sizes of the model.
        precision: the form of its weights.
        adapter: how many numbers one person's adapter has.

    Returns:
        The bytes of the weights, of one person, of training and of serving.
    """
    # Embeddings, norms and the output head stay in bf16.
    each = _NF4 if precision == "nf4" else _BF16
    base = round(sizes.quantizable * each) + (sizes.parameters - sizes.quantizable) * _BF16
    # A forward keeps what the backward needs; logits exist for a chunk of target tokens only, as
    # bf16, as fp32 probabilities and as gradient.
    tokens = MIN_FORWARD_TOKENS * (sizes.activations + sizes.scores * ROW_TOKENS) * _BF16
    logits = LOGIT_CHUNK_TOKENS * sizes.vocabulary * (2 * _BF16 + _FP32)
    person = adapter * SLOT_BYTES
    conversation = (sizes.cache * SERVE_TOKENS + sizes.state) * _BF16
    return MemoryEstimate(
        precision=precision,
        base=base,
        person=person,
        train=base + MIN_SLOTS * person + tokens + logits,
        serve=base + adapter * _FP32 + conversation,
    )
