"""Progress bars on a terminal, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console
from rich.text import Text

from idiolect.cli.formatting import strip_control_characters
from idiolect.cli.progress_lines import format_loss, format_speed
from idiolect.events import Event, Listener, Message, Metrics, Progress


def is_supported() -> bool:
    """Return whether the terminal at stderr can redraw a line."""
    return not Console(stderr=True).is_dumb_terminal


@contextmanager
def draw_bars(console: Console | None = None) -> Iterator[Listener]:
    """Yield a listener that draws a bar for each stage: units done, rate, time left, and loss."""
    display = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=20),
        progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        _RateColumn(),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
        progress.TextColumn("{task.fields[loss]}", markup=False),
        console=console or Console(stderr=True),
    )
    with display:
        yield BarProgress(display)


class _RateColumn(progress.ProgressColumn):
    """Units per second or minute."""

    def render(self, task: progress.Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(format_speed(rate) if rate else "", style="progress.data.speed")


class BarProgress:
    """Draws one bar for each stage; a stage that starts again resets its bar."""

    def __init__(self, display: progress.Progress) -> None:
        self.display = display
        self.bars: dict[str, progress.Task] = {}

    def __call__(self, event: Event, /) -> None:
        match event:
            # Text objects, so that rich does not read brackets as markup.
            case Message():
                self.display.console.print(Text(strip_control_characters(event.text)))
            case Metrics():
                if event.stage in self.bars and "loss" in event.values:
                    self.display.update(self.bars[event.stage].id, loss=format_loss(event))
            case Progress():
                self._update_bar(event)

    def _update_bar(self, event: Progress) -> None:
        bar = self.bars.get(event.stage)
        if bar is None:
            self.display.add_task(event.stage, unit=event.unit, loss="", total=event.total)
            bar = self.bars[event.stage] = self.display.tasks[-1]
            bar.completed = event.done  # work of an earlier run must not count as speed
        # A stage that is finished, or whose count went back, has started again.
        elif bar.finished or event.done < bar.completed:
            done = int(event.done)
            self.display.reset(bar.id, total=event.total, completed=done, loss="", unit=event.unit)
        self.display.update(bar.id, completed=event.done, total=event.total)
