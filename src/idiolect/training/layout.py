"""How the engine's work is laid out: people at once, tokens in a forward, what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from idiolect.adapters import LoraConfig, sites
from idiolect.errors import UsageError
from idiolect.models import Base
from idiolect.models.device import free_bytes
from idiolect.training.frozen import KEPT_BYTES, Frozen
from idiolect.training.jobs import Job
from idiolect.training.schedule import TrainConfig

FEWEST_SEATS, MOST_SEATS = 8, 64
"""Several people's rows of like length make fuller forwards than one's."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How the work is laid out; changes speed and rounding, never what is computed."""

    slots: int = 0
    """People trained at once; 0 for as many as fill a forward, as far as memory goes."""
    forward_tokens: int = 1024
    """Padded tokens in one forward; bounds memory. On two cores 600 to 1,200 were a tenth faster
    than 2,048: activations then stay in the caches."""
    keep: bool = True
    """Run what no adapter changes once and keep it, where ``lora`` leaves such a part."""
    keep_bytes: int = KEPT_BYTES
    """Room for what is kept; the oldest goes first."""
    share: bool = True
    """Run first tokens that a person's prompts have in common once a step."""
    pack: bool = True
    """Lay the base's matrices out for the processor once, where that is possible."""
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("slots", 0), ("forward_tokens", 1), ("keep_bytes", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"engine.{name}: must be at least {least}, got {getattr(self, name)}"
                )


def frozen_for(base: Base, lora: LoraConfig, engine: EngineConfig) -> Frozen | None:
    """What keeps the part that no adapter changes, ``None`` where all is changed.

    Dropout draws for whole examples, so with it nothing is left out.
    """
    whole = lora.active == "all" and not lora.top_layers
    if whole or lora.dropout or not engine.keep:
        return None
    return Frozen(base, lora, forward_tokens=engine.forward_tokens, keep_bytes=engine.keep_bytes)


def seats_for(
    base: Base,
    jobs: Sequence[Job],
    lora: LoraConfig,
    config: TrainConfig,
    engine: EngineConfig,
    frozen: Frozen | None,
) -> int:
    """How many people sit at once.

    As many as fill a forward with one step of each, in powers of two, so that a little more or
    less free memory changes nothing (and with it no bit of the result).
    """
    if engine.slots:
        return max(1, min(engine.slots, len(jobs)))
    widths = (
        mean(len(e.ids) - (frozen.start(e) if frozen else 0) for e in job.examples)
        * min(config.batch, len(job.examples))
        for job in jobs
    )
    wanted = engine.forward_tokens / mean(widths)
    numbers = sum(lora.rank * (s.inputs + s.outputs) for s in sites(base.model, lora))
    held = 5 * 4 * numbers  # weights, gradients, two moments, and a copy in the base's type
    room = free_bytes(base.device) / 4 / held
    seats = 1
    while seats * 2 <= min(max(wanted * 2, FEWEST_SEATS), room, MOST_SEATS):
        seats *= 2
    return min(seats, len(jobs))
