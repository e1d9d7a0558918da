"""Plans the engine's memory: tokens per forward, people at once, and the activation cache."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from torch import nn

from idiolect.adapters.kinds import find_kind
from idiolect.adapters.protocol import AdapterConfig
from idiolect.adapters.row_groups import list_flat_targets, require_trainable_targets
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.device import get_free_bytes
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.linear import get_widths, is_linear
from idiolect.models.structure import find_decoder, get_text_config
from idiolect.training.engine.activation_cache import ActivationCache
from idiolect.training.engine.config import MIN_FORWARD_TOKENS, EngineConfig
from idiolect.training.engine.shared_prefixes import uses_prefixes
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig

MIN_SLOTS, MAX_SLOTS = 8, 64
"""Bounds of the derived number of slots. Rows of several people are easier to group by length, so
forwards are fuller. ``MAX_SLOTS`` is per ``MIN_FORWARD_TOKENS`` tokens of a forward."""
SLOT_BYTES = 5 * 4
"""Bytes of a slot for each number of an adapter: weight, gradient, two moments, and a copy for the
forward, in fp32."""
MAX_FORWARD_TOKENS = 65536
"""Upper bound of the derived number of tokens per forward: more makes no GPU faster."""


def require_trainable(base: Base, adapter_config: AdapterConfig, engine: EngineConfig) -> None:
    """Raise UsageError if these settings ask for adapters or for a layout that are not right on
    this base; call it before any work."""
    require_trainable_targets(base, adapter_config)
    if engine.layout == "packed" and not base.ways.packed:
        reason = base.ways.reasons.get("packed", "rows do not keep the numbers they have alone")
        raise UsageError(
            f"engine.layout 'packed': not right on {base.name} ({reason}); use 'auto' or 'rows'"
        )
    flat = list_flat_targets(base, adapter_config)
    if engine.layout == "packed" and flat:
        raise UsageError(
            f"engine.layout 'packed': not right on {base.name} with the target "
            f"{flat[0].rpartition('.')[2]!r}, which runs one person at a time; use 'auto' or 'rows'"
        )


def uses_packing(base: Base, adapter_config: AdapterConfig, engine: EngineConfig) -> bool:
    """Return whether sequences are packed without padding; check ``require_trainable`` first."""
    # Packing needs adapters that act on all tokens of all layers, without dropout.
    whole = adapter_config.active == "all" and not adapter_config.top_layers
    whole = whole and not adapter_config.dropout and find_kind(adapter_config.kind).packs
    auto = engine.layout == "auto" and base.device.type == "cuda"
    if not (whole and (auto or engine.layout == "packed")):
        return False
    return base.ways.packed and not list_flat_targets(base, adapter_config)


def find_longest(jobs: Sequence[TrainingJob]) -> int:
    """Return the number of tokens of the longest example."""
    return max(len(e.ids) for job in jobs for e in (*job.examples, *job.holdout_examples))


def choose_forward_tokens(
    base: Base, jobs: Sequence[TrainingJob], adapter_config: AdapterConfig, engine: EngineConfig
) -> int:
    """Choose the number of tokens of a forward.

    On CUDA: the largest power of two whose activations take at most half of the free memory. The
    other half is for the slots, and for the error of this estimate.
    """
    if engine.forward_tokens:
        return engine.forward_tokens
    if base.device.type != "cuda":
        return MIN_FORWARD_TOKENS
    # Bytes per token: activations, plus attention scores if rows are padded.
    each = activation_bytes(base)
    if not uses_packing(base, adapter_config, engine):
        each += attention_score_bytes(base, find_longest(jobs))
    room = get_free_bytes(base.device) / 2
    tokens = MIN_FORWARD_TOKENS
    while tokens * 2 <= MAX_FORWARD_TOKENS and tokens * 2 * each <= room:
        tokens *= 2
    return tokens


def activation_bytes(base: Base) -> int:
    """Estimate the bytes that a forward keeps per token for its backward pass."""
    return base.dtype.itemsize * count_activations(base.model)


def count_activations(model: Any) -> int:
    """Estimate the numbers that a forward keeps per token for its backward pass.

    Counts the input and output of each linear layer of the decoder once. This counts some tensors
    twice, which about equals the norms in fp32 and the activation function that it leaves out.
    """
    numbers = 0
    chosen = getattr(get_text_config(model), "num_experts_per_tok", None)
    for module in find_decoder(model).modules():
        if is_linear(module):
            numbers += sum(get_widths(module))  # a 4-bit weight has another shape
        elif not isinstance(module, nn.Conv1d):
            # The matrices of experts are in one parameter [experts, inputs, outputs] (or outputs
            # first). A token runs through the chosen ones.
            for weight in module.parameters(recurse=False):
                if weight.dim() == 3:
                    experts, rows, columns = weight.shape
                    numbers += min(chosen or experts, experts) * (rows + columns)
    return numbers


def attention_score_bytes(base: Base, width: int) -> int:
    """Estimate the bytes per token for attention in padded rows of ``width`` tokens: scores and
    softmax. 0 for a model without attention."""
    return base.dtype.itemsize * count_scores(base.model) * width


def count_scores(model: Any) -> int:
    """Count the attention scores and their softmax, per token and per token that it attends to."""
    config = get_text_config(model)
    return 2 * config.num_hidden_layers * (getattr(config, "num_attention_heads", None) or 0)


def make_activation_cache(
    base: Base, adapter_config: AdapterConfig, engine: EngineConfig, jobs: Sequence[TrainingJob]
) -> ActivationCache | None:
    """Make the cache for the part that no adapter changes; ``None`` if adapters change everything,
    or if the base cannot continue from cached activations. Then whole examples run.

    ``None`` with dropout too, because dropout draws for whole examples.
    """
    whole = adapter_config.active == "all" and not adapter_config.top_layers
    if whole or adapter_config.dropout or not engine.keep:
        return None
    if not uses_prefixes(base) or (adapter_config.top_layers and not base.ways.layers):
        return None
    if not has_full_attention(base, find_longest(jobs)):
        return None
    return ActivationCache(
        base, adapter_config, forward_tokens=engine.forward_tokens, keep_bytes=engine.keep_bytes
    )


def choose_slots(
    base: Base,
    jobs: Sequence[TrainingJob],
    adapter_config: AdapterConfig,
    config: TrainConfig,
    engine: EngineConfig,
    cache: ActivationCache | None,
) -> int:
    """Choose how many people are trained at once.

    As many as fill a forward with one step of each person. The number is a power of two, so that a
    small change of free memory changes neither the number nor the rounding of the result.
    ``engine.forward_tokens`` must be set.
    """
    assert engine.forward_tokens
    if engine.slots:
        return max(1, min(engine.slots, len(jobs)))
    # Mean tokens of one person's step that run through adapted layers.
    widths = (
        mean(len(e.ids) - (cache.find_active_start(e) if cache else 0) for e in job.examples)
        * min(config.batch, len(job.examples))
        for job in jobs
    )
    wanted = engine.forward_tokens / mean(widths)
    held = SLOT_BYTES * adapter_config.count_parameters(base.model)
    # At most a quarter of the free memory goes to slots.
    room = get_free_bytes(base.device) / 4 / held
    most = MAX_SLOTS * max(1, engine.forward_tokens // MIN_FORWARD_TOKENS)
    slots = 1
    while slots * 2 <= min(max(wanted * 2, MIN_SLOTS), room, most):
        slots *= 2
    return min(slots, len(jobs))
