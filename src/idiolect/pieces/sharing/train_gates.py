"""Trains the gates of many sharers at once: which activations open each piece of their adapters.

The training engine runs with the adapters frozen and gates as the trainable parameters. Each
sharer's gates equal those that ``train_gates_reference.py`` trains for them alone. This module
does not access a pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.stacks.gates import GateVectors
from idiolect.errors import ArtifactError, TrainingError, UsageError
from idiolect.events import Listener, null_listener
from idiolect.models.base import Base
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.engine.trainable import GATES
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.schedule import TrainConfig


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """How gates are trained: the same number of steps for each sharer, whatever the history length.

    Per-Pcs uses 200 steps at learning rate 2e-5. Only the direction of a gate is used, so few steps
    suffice: of five settings tried on film ratings, these steps and this rate did best, by a small
    margin (``docs/notes/pieces.md``). No weight decay, as in the paper.
    """

    steps: int = 20
    rate: float = 1e-2
    batch: int = 16
    clip: float = 1.0
    """Maximum gradient norm per sharer and step."""
    warmup: float = 0.1
    """Fraction of the steps over which the learning rate rises."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise UsageError(f"gates.{name}: must be above 0, got {getattr(self, name)}")
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"gates.{name}: must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"gates.warmup: must be in [0, 1), got {self.warmup}")

    @property
    def train_config(self) -> TrainConfig:
        """The same settings as the training engine takes them."""
        return TrainConfig(
            rate=self.rate,
            steps=self.steps,
            batch=self.batch,
            weight_decay=0.0,
            clip=self.clip,
            warmup=self.warmup,
            seed=self.seed,
        )


GateTrainingInput = tuple[str, LoraAdapter, Sequence[Example]]
"""A person, the adapter to split into pieces, and their own items in time order."""


def train_gates(
    base: Base,
    sharers: Sequence[GateTrainingInput],
    config: GatesConfig,
    engine: EngineConfig | None = None,
    *,
    checkpoint: Path | None = None,
    listener: Listener = null_listener,
) -> tuple[TrainingResult[GateVectors], ...]:
    """Train the gates of all sharers; return them in the same order.

    All adapters must be of one kind. Resumes from ``checkpoint`` as ``train_many`` does. Raises
    MismatchError for an adapter of another base or kind, UsageError for a sharer without examples,
    TrainingError if a loss or a gate is not finite, or a gate learned nothing.
    """
    if not sharers:
        return ()
    assert len({person for person, _, _ in sharers}) == len(sharers)
    kind = sharers[0][1].config
    trained = train_many(
        base,
        [_make_job(base, sharer, kind) for sharer in sharers],
        replace(kind, dropout=0.0),  # no dropout in frozen adapters
        config.train_config,
        engine,
        kind=GATES,
        checkpoint=checkpoint,
        listener=listener,
        stage="gates",
    )
    for one in trained:
        # A gate that is zero or constant would rank pieces by rounding noise.
        if one.adapter.defect:
            raise TrainingError(
                f"sharer {one.person!r}: after {one.steps} steps the gate {one.adapter.defect}: it "
                "cannot rank pieces. Train their adapter again if it has no effect there, try "
                "another gates.rate, or leave this sharer out"
            )
    return trained


def _make_job(base: Base, sharer: GateTrainingInput, kind: LoraConfig) -> TrainingJob:
    """Check a sharer's input and return their training job."""
    person, adapter, examples = sharer
    if not examples:
        raise UsageError(
            f"sharer {person!r}: no usable item to train gates on; leave this sharer out"
        )
    try:
        # Same error type, with the sharer's name in front.
        adapter.check_matches_base(base, kind)
    except ArtifactError as error:
        raise type(error)(f"sharer {person!r}: {error}") from error
    return TrainingJob(person=person, examples=tuple(examples), initial_adapter=adapter)
