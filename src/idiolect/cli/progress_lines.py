"""Progress of long work as plain lines, for logs and pipes; knows nothing of the work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from idiolect.cli.formatting import format_duration, strip_control_characters
from idiolect.events import Event, Message, Metrics, Progress

SECONDS_BETWEEN_LINES = 10.0


@dataclass(slots=True)
class _StageState:
    """A stage that is under way; ``origin`` is where it was when we first heard of it."""

    started_at: float
    printed_at: float
    initial_done: float
    done: float
    total: float
    unit: str
    loss: str = ""

    @property
    def is_finished(self) -> bool:
        return self.done >= self.total


class LineProgress:
    """Prints a plain line every ten seconds, and one at the end of each stage."""

    def __init__(
        self,
        file: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        every: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self.file, self.clock, self.interval_seconds = file, clock, every
        self.stages: dict[str, _StageState] = {}

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        match event:
            case Message():
                self._print_line(strip_control_characters(event.text))
            case Metrics():
                if (stage := self.stages.get(event.stage)) and "loss" in event.values:
                    stage.loss = format_loss(event)
            case Progress():
                self._update_stage(event)

    def _update_stage(self, event: Progress) -> None:
        now, known = self.clock(), self.stages.get(event.stage)
        if known is None or known.is_finished or event.done < known.done:
            known = _StageState(now, now, event.done, event.done, event.total, event.unit)
            self.stages[event.stage] = known
        known.done, known.total = event.done, event.total
        if event.total == 0:
            return  # a stage without work is no news
        if known.is_finished:
            self._print_line(_format_finished(event, known, now))
        elif now - known.printed_at >= self.interval_seconds:
            known.printed_at = now
            self._print_line(_format_running(event, known, now))

    def _print_line(self, line: str) -> None:
        print(line, file=self.file, flush=True)


def format_loss(event: Metrics) -> str:
    """The event's loss as ``loss 1.234``, empty where it has none."""
    value = event.values.get("loss")
    return f"loss {value:.3f}" if isinstance(value, (int, float)) else ""


def _format_finished(event: Progress, stage: _StageState, now: float) -> str:
    told = (
        f"{event.stage}: done, {event.total:,.0f} {event.unit} in "
        f"{format_duration(now - stage.started_at)}"
    )
    return f"{told}, {stage.loss}" if stage.loss else told


def _format_running(event: Progress, stage: _StageState, now: float) -> str:
    parts = [f"{event.done:,.0f} of {event.total:,.0f} {event.unit}"]
    rate = (event.done - stage.initial_done) / max(now - stage.started_at, 1e-9)
    if rate > 0:
        parts += [format_speed(rate), f"{format_duration((event.total - event.done) / rate)} left"]
    if stage.loss:
        parts.append(stage.loss)
    return f"{event.stage}: {', '.join(parts)}"


def format_speed(rate: float) -> str:
    """``12.5/s``; slow work is told by the minute."""
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:,.1f}/min"
