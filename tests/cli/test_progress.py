"""Progress lines and progress bars."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from idiolect.cli import progress_bars
from idiolect.cli.progress import progress_listener
from idiolect.cli.progress_lines import LineProgress
from idiolect.events import Event, Message, Metrics, Progress


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def print_lines(*events: tuple[float, Event]) -> list[str]:
    """Send events at the given seconds to a ``LineProgress``; return the lines it prints."""
    clock, file = Clock(), io.StringIO()
    listen = LineProgress(file, clock=clock)
    for now, event in events:
        clock.now = now
        listen(event)
    return file.getvalue().splitlines()


def make_progress(done: float, total: float = 100, stage: str = "train") -> Progress:
    return Progress(stage=stage, done=done, total=total, unit="items")


def test_line_progress_prints_every_ten_seconds_and_at_end() -> None:
    events = [(float(second), make_progress(second)) for second in range(26)]
    assert print_lines(*events, (26.0, make_progress(100))) == [
        "train: 10 of 100 items, 1.0/s, 1 min 30 s left",
        "train: 20 of 100 items, 1.0/s, 1 min 20 s left",
        "train: done, 100 items in 26.0 s",
    ]


def test_line_progress_shows_latest_loss() -> None:
    assert print_lines(
        (0, make_progress(0)),
        (1, Metrics(stage="train", values={"loss": 2.5, "step": 1})),
        (2, Metrics(stage="train", values={"loss": 1.25, "step": 2})),
        (3, Metrics(stage="train", values={"rate": 0.1})),
        (4, Metrics(stage="elsewhere", values={"loss": 9.0})),
        (20, make_progress(50)),
        (21, make_progress(100)),
    ) == [
        "train: 50 of 100 items, 2.5/s, 20.0 s left, loss 1.250",
        "train: done, 100 items in 21.0 s, loss 1.250",
    ]


def test_line_progress_excludes_earlier_run_from_rate() -> None:
    assert print_lines((0, make_progress(80)), (10, make_progress(90))) == [
        "train: 90 of 100 items, 1.0/s, 10.0 s left"
    ]


def test_line_progress_shows_slow_rates_per_minute() -> None:
    assert print_lines((0, make_progress(0, 4)), (60, make_progress(1, 4))) == [
        "train: 1 of 4 items, 1.0/min, 3 min 0 s left"
    ]


def test_line_progress_restarts_stage() -> None:
    assert print_lines(
        (0, make_progress(0, 2)),
        (1, make_progress(2, 2)),
        (5, make_progress(0, 3)),
        (7, make_progress(3, 3)),
    ) == [
        "train: done, 2 items in 1.0 s",
        "train: done, 3 items in 2.0 s",
    ]


def test_line_progress_skips_stage_without_work() -> None:
    assert print_lines((0, make_progress(0, 0)), (0, make_progress(0, 0))) == []


def test_line_progress_prints_messages_without_control_characters() -> None:
    assert print_lines((0, Message(text="ann\x1b[2J has 2 items"))) == ["ann[2J has 2 items"]


def test_progress_listener_without_terminal_prints_lines_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_listener() as listen:
        print("library output")
        listen(make_progress(0))
        listen(make_progress(100))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("library output\ntrain: done, 100 items in ")


def test_progress_listener_on_terminal_draws_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress_listener() as listen:
        listen(make_progress(0))
        listen(make_progress(100))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "━" in printed.err and "100/100 items" in printed.err


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_progress_listener_on_dumb_terminal_prints_lines(
    term: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    with progress_listener() as listen:
        listen(make_progress(100))
    assert capsys.readouterr().err == "train: done, 100 items in 0.0 s\n"


def test_draw_bars_shows_stages_losses_and_messages() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=110, _environ={"TERM": "xterm"})
    with progress_bars.draw_bars(console) as listen:
        listen(make_progress(0))
        listen(Metrics(stage="unknown", values={"loss": 7.5}))
        listen(Message(text="[bold]bob[/bold] has too few items"))
        listen(make_progress(60))
        listen(make_progress(20, 50))
        listen(make_progress(50, 50))
        listen(Progress(stage="predict", done=3, total=8, unit="queries"))
        listen(Metrics(stage="predict", values={"loss": 1.5}))
    last = file.getvalue()
    assert "[bold]bob[/bold] has too few items" in last
    assert "loss 1.500" in last and "7.5" not in last
    assert "50/50 items" in last and "3/8 queries" in last
    assert last.rsplit("\x1b[2K", 1)[1].count("train") <= 1
