"""The input and output of training as values: one person's job and one person's result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from idiolect.adapters.protocol import Adapter
from idiolect.prompts.render import Example

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One person's training job."""

    person: str
    examples: tuple[Example, ...]
    """In history order."""
    initial_adapter: Adapter | None = None
    """The adapter that training starts from (or whose gates are trained); ``None``: a new one."""
    holdout_examples: tuple[Example, ...] = ()
    """Held-out examples for early stopping (``train.patience``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult(Generic[V]):
    """The result of one person's training, with its counts and losses."""

    person: str
    adapter: V
    """The person's adapter, or what else the engine's ``AdapterKind`` trains."""
    steps: int
    tokens: int
    """Tokens of all batches, without padding."""
    first_loss: float
    """Loss of the first step, in nats per target token."""
    last_loss: float
