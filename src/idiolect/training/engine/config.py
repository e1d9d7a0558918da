"""How the engine's work is laid out: people at once, tokens in a forward, what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from torch import nn

from idiolect.adapters.kinds import find_kind
from idiolect.adapters.protocol import AdapterConfig
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.device import get_free_bytes
from idiolect.training.engine.activation_cache import DEFAULT_CACHE_BYTES, ActivationCache
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig

MIN_SLOTS, MAX_SLOTS = 8, 64
"""Several people's rows of like length make fuller forwards than one's; the most are for each
``LEAST_TOKENS`` of a forward."""
MIN_FORWARD_TOKENS, MAX_FORWARD_TOKENS = 1024, 65536
"""Tokens in a forward that are derived. More than the most fill no GPU better."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How the work is laid out; changes speed and rounding, never what is computed."""

    slots: int = 0
    """People trained at once; 0 for as many as fill a forward, as far as memory goes."""
    forward_tokens: int = 0
    """Tokens in one forward, padding included; bounds memory. 0: 1,024 (on two cores 600 to 1,200
    were a tenth faster than 2,048: activations then stay in the caches), on CUDA as many as
    memory allows."""
    layout: Literal["auto", "rows", "packed"] = "auto"
    """Rows padded to like length, or packed one behind another with grouped products; ``auto``:
    packed on CUDA, rows elsewhere. Rows stay rows with dropout, where adapters act on answers or in
    top layers alone, and where a layer does not see all tokens."""
    keep: bool = True
    """Run what no adapter changes once and keep it, where ``lora`` leaves such a part."""
    keep_bytes: int = DEFAULT_CACHE_BYTES
    """Room for what is kept; the oldest goes first."""
    share: bool = True
    """Run first tokens that a person's prompts have in common once a step."""
    pack: bool = True
    """Lay the base's matrices out for the processor once, where that is possible."""
    compile: bool = False
    """Run what stands between matrix products compiled: a tenth faster, once a process has spent
    some 20 seconds on it. For runs of many minutes."""
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("slots", 0), ("forward_tokens", 0), ("keep_bytes", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"engine.{name}: must be at least {least}, got {getattr(self, name)}"
                )
        if self.layout not in ("auto", "rows", "packed"):
            raise UsageError(
                f"engine.layout: must be 'auto', 'rows' or 'packed', got {self.layout!r}"
            )

    @property
    def scoring_tokens(self) -> int:
        """Tokens in a forward that only scores: never by free memory, so that whatever runs beside
        changes no bit of a verdict."""
        return self.forward_tokens or MIN_FORWARD_TOKENS


def uses_packing(base: Base, adapter_config: AdapterConfig, engine: EngineConfig) -> bool:
    """Whether rows are packed."""
    whole = adapter_config.active == "all" and not adapter_config.top_layers
    whole = whole and not adapter_config.dropout and find_kind(adapter_config.kind).packs
    auto = engine.layout == "auto" and base.device.type == "cuda"
    return whole and (auto or engine.layout == "packed")


def choose_forward_tokens(
    base: Base, jobs: Sequence[TrainingJob], adapter_config: AdapterConfig, engine: EngineConfig
) -> int:
    """How many tokens a forward has.

    On CUDA the power of two whose activations take at most half of the free memory: the other half
    is for seats, and for what such an estimate misses.
    """
    if engine.forward_tokens:
        return engine.forward_tokens
    if base.device.type != "cuda":
        return MIN_FORWARD_TOKENS
    each = activation_bytes(base)
    if not uses_packing(base, adapter_config, engine):
        longest = max(len(e.ids) for job in jobs for e in (*job.examples, *job.holdout_examples))
        each += attention_score_bytes(base, longest)
    room = get_free_bytes(base.device) / 2
    tokens = MIN_FORWARD_TOKENS
    while tokens * 2 <= MAX_FORWARD_TOKENS and tokens * 2 * each <= room:
        tokens *= 2
    return tokens


def activation_bytes(base: Base) -> int:
    """What a forward keeps of a token for its backward: what enters and leaves each matrix of the
    decoder, once. Norms in fp32 and what the activation function keeps are about what that counts
    too often."""
    decoder = base.model.get_decoder()
    linear = (m for m in decoder.modules() if isinstance(m, nn.Linear))
    return base.dtype.itemsize * sum(m.in_features + m.out_features for m in linear)


def attention_score_bytes(base: Base, width: int) -> int:
    """The same for attention in rows of so many tokens: scores, and their softmax."""
    config = base.model.config
    return 2 * base.dtype.itemsize * config.num_hidden_layers * config.num_attention_heads * width


def make_activation_cache(
    base: Base, adapter_config: AdapterConfig, engine: EngineConfig
) -> ActivationCache | None:
    """What keeps the part that no adapter changes, ``None`` where all is changed.

    Dropout draws for whole examples, so with it nothing is left out.
    """
    whole = adapter_config.active == "all" and not adapter_config.top_layers
    if whole or adapter_config.dropout or not engine.keep:
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
    frozen: ActivationCache | None,
) -> int:
    """How many people sit at once.

    As many as fill a forward with one step of each, in powers of two, so that a little more or
    less free memory changes nothing (and with it no bit of the result). ``engine`` says how many
    tokens a forward has.
    """
    assert engine.forward_tokens
    if engine.slots:
        return max(1, min(engine.slots, len(jobs)))
    widths = (
        mean(len(e.ids) - (frozen.find_active_start(e) if frozen else 0) for e in job.examples)
        * min(config.batch, len(job.examples))
        for job in jobs
    )
    wanted = engine.forward_tokens / mean(widths)
    # weights, gradients, two moments, and a copy in the base's type
    held = 5 * 4 * adapter_config.count_numbers(base.model)
    room = get_free_bytes(base.device) / 4 / held
    most = MAX_SLOTS * max(1, engine.forward_tokens // MIN_FORWARD_TOKENS)
    seats = 1
    while seats * 2 <= min(max(wanted * 2, MIN_SLOTS), room, most):
        seats *= 2
    return min(seats, len(jobs))
