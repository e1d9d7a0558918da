"""Progress as plain lines, for logs and pipes."""

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
    """The latest known state of a stage."""

    started_at: float
    """Time of its first event, in seconds of the clock."""
    printed_at: float
    """Time of its last line."""
    initial_done: float
    """Units done at its first event; an earlier run did them."""
    done: float
    total: float
    unit: str
    loss: str = ""

    @property
    def is_finished(self) -> bool:
        return self.done >= self.total


class LineProgress:
    """Prints a line for each stage every ten seconds, and one at its end."""

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
        """Handle one event."""
        match event:
            case Message():
                self._print_line(strip_control_characters(event.text))
            case Metrics():
                if (stage := self.stages.get(event.stage)) and "loss" in event.values:
                    stage.loss = format_loss(event)
            case Progress():
                self._update_stage(event)

    def _update_stage(self, event: Progress) -> None:
        now, state = self.clock(), self.stages.get(event.stage)
        # A stage that was finished, or whose count went back, has started again.
        if state is None or state.is_finished or event.done < state.done:
            state = _StageState(now, now, event.done, event.done, event.total, event.unit)
            self.stages[event.stage] = state
        state.done, state.total = event.done, event.total
        if event.total == 0:
            return  # a stage without work prints nothing
        if state.is_finished:
            self._print_line(_format_finished(event, state, now))
        elif now - state.printed_at >= self.interval_seconds:
            state.printed_at = now
            self._print_line(_format_running(event, state, now))

    def _print_line(self, line: str) -> None:
        print(line, file=self.file, flush=True)


def format_loss(event: Metrics) -> str:
    """Return e.g. ``loss 1.234``, or an empty string if the event has no loss."""
    value = event.values.get("loss")
    return f"loss {value:.3f}" if isinstance(value, (int, float)) else ""


def _format_finished(event: Progress, stage: _StageState, now: float) -> str:
    text = (
        f"{event.stage}: done, {event.total:,.0f} {event.unit} in "
        f"{format_duration(now - stage.started_at)}"
    )
    return f"{text}, {stage.loss}" if stage.loss else text


def _format_running(event: Progress, stage: _StageState, now: float) -> str:
    parts = [f"{event.done:,.0f} of {event.total:,.0f} {event.unit}"]
    # The rate counts only this run's work, and 1e-9 avoids a division by zero.
    rate = (event.done - stage.initial_done) / max(now - stage.started_at, 1e-9)
    if rate > 0:
        parts += [format_speed(rate), f"{format_duration((event.total - event.done) / rate)} left"]
    if stage.loss:
        parts.append(stage.loss)
    return f"{event.stage}: {', '.join(parts)}"


def format_speed(rate: float) -> str:
    """Return e.g. ``12.5/s``, or units per minute if the rate is below one per second."""
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:,.1f}/min"
