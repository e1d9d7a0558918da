"""What long work says while it runs, as values; knows nothing of terminals or files.

Work takes a ``Listener`` and calls it with events; the CLI draws bars, a run writes
``metrics.jsonl``, tests collect them in a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Progress:
    """``done`` of ``total`` units of a named stage; a resumed stage does not begin at 0."""

    stage: str
    done: float
    total: float
    unit: str = "steps"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of one moment of a stage, e.g. one optimizer step; goes to ``metrics.jsonl``."""

    stage: str
    values: Mapping[str, float | int | str] = field(default_factory=dict[str, float | int | str])


@dataclass(frozen=True, kw_only=True)
class Message:
    """A sentence for the person watching, e.g. who was skipped and why."""

    text: str


Event = Progress | Metrics | Message


class Listener(Protocol):
    """Takes events; must not raise."""

    def __call__(self, event: Event, /) -> None: ...


def null_listener(event: Event, /) -> None:
    """Ignore the event."""


def tee(first: Listener, second: Listener) -> Listener:
    """A listener that passes every event to two others, in order."""

    def pass_event(event: Event, /) -> None:
        first(event)
        second(event)

    return pass_event
