"""What there is to train, as a value: one person's examples and where their training starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from idiolect.adapters.protocol import Adapter
from idiolect.prompts.render import Example

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One person's training: their examples in history order, and the adapter to go on from, or
    whose gates are to be trained."""

    person: str
    examples: tuple[Example, ...]
    initial_adapter: Adapter | None = None
    holdout_examples: tuple[Example, ...] = ()
    """Held-out examples that tell when to stop (``train.patience``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult(Generic[V]):
    """What came out of one person's training, and how that went."""

    person: str
    adapter: V
    """Their adapter, or what else was trained of it."""
    steps: int
    tokens: int
    """Tokens of all its batches, padding not counted."""
    first_loss: float
    last_loss: float
