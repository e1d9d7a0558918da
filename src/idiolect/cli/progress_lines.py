"""Progress of long work as plain lines, for logs and pipes; knows nothing of the work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from idiolect.cli.formatting import duration, printable
from idiolect.events import Event, Measured, Note, Progress

SECONDS_BETWEEN_LINES = 10.0


@dataclass(slots=True)
class _Stage:
    """A stage that is under way; ``origin`` is where it was when we first heard of it."""

    started: float
    printed: float
    origin: float
    done: float
    total: float
    unit: str
    loss: str = ""

    @property
    def ended(self) -> bool:
        return self.done >= self.total


class Lines:
    """Prints a plain line every ten seconds, and one at the end of each stage."""

    def __init__(
        self,
        file: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        every: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self.file, self.clock, self.every = file, clock, every
        self.stages: dict[str, _Stage] = {}

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        match event:
            case Note():
                self._print(printable(event.text))
            case Measured():
                if (stage := self.stages.get(event.stage)) and "loss" in event.values:
                    stage.loss = loss(event)
            case Progress():
                self._progress(event)

    def _progress(self, event: Progress) -> None:
        now, known = self.clock(), self.stages.get(event.stage)
        if known is None or known.ended or event.done < known.done:
            known = _Stage(now, now, event.done, event.done, event.total, event.unit)
            self.stages[event.stage] = known
        known.done, known.total = event.done, event.total
        if event.total == 0:
            return  # a stage without work is no news
        if known.ended:
            self._print(_finished(event, known, now))
        elif now - known.printed >= self.every:
            known.printed = now
            self._print(_under_way(event, known, now))

    def _print(self, line: str) -> None:
        print(line, file=self.file, flush=True)


def loss(event: Measured) -> str:
    """The event's loss as ``loss 1.234``, empty where it has none."""
    value = event.values.get("loss")
    return f"loss {value:.3f}" if isinstance(value, (int, float)) else ""


def _finished(event: Progress, stage: _Stage, now: float) -> str:
    told = (
        f"{event.stage}: done, {event.total:,.0f} {event.unit} in {duration(now - stage.started)}"
    )
    return f"{told}, {stage.loss}" if stage.loss else told


def _under_way(event: Progress, stage: _Stage, now: float) -> str:
    parts = [f"{event.done:,.0f} of {event.total:,.0f} {event.unit}"]
    rate = (event.done - stage.origin) / max(now - stage.started, 1e-9)
    if rate > 0:
        parts += [speed(rate), f"{duration((event.total - event.done) / rate)} left"]
    if stage.loss:
        parts.append(stage.loss)
    return f"{event.stage}: {', '.join(parts)}"


def speed(rate: float) -> str:
    """``12.5/s``; slow work is told by the minute."""
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:,.1f}/min"
