"""What there is to train, as a value: one person's examples and where their adapter starts."""

from __future__ import annotations

from dataclasses import dataclass

from idiolect.adapters import LoraAdapter
from idiolect.models import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One person's training: their examples in history order, and the adapter to go on from."""

    person: str
    examples: tuple[Example, ...]
    start: LoraAdapter | None = None
    tail: tuple[Example, ...] = ()
    """Held-out examples that tell when to stop (``train.patience``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished adapter and how its training went."""

    person: str
    adapter: LoraAdapter
    steps: int
    tokens: int
    """Tokens of all its batches, padding not counted."""
    first_loss: float
    last_loss: float
