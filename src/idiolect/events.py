"""Progress events of long-running work, as values. Independent of terminals and files.

A long-running function takes a ``Listener`` and calls it with events. The CLI draws progress bars,
a run writes ``metrics.jsonl``, and tests collect the events in a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Progress:
    """``done`` of ``total`` units of a named stage. A resumed stage does not start at 0."""

    stage: str
    done: float
    total: float
    unit: str = "steps"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Numbers measured at one moment of a stage, e.g. one optimizer step; written to
    ``metrics.jsonl``."""

    stage: str
    values: Mapping[str, float | int | str] = field(default_factory=dict[str, float | int | str])


@dataclass(frozen=True, kw_only=True)
class Message:
    """A sentence for the user, e.g. which person was skipped and why."""

    text: str


Event = Progress | Metrics | Message


class Listener(Protocol):
    """Receives events. It must not raise."""

    def __call__(self, event: Event, /) -> None: ...


def null_listener(event: Event, /) -> None:
    """Ignore the event."""


def tee(first: Listener, second: Listener) -> Listener:
    """Return a listener that passes every event to ``first`` and then to ``second``."""

    def pass_event(event: Event, /) -> None:
        first(event)
        second(event)

    return pass_event
