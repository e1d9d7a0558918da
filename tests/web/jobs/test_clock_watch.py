"""The clean-up waits after the clock of the machine was set."""

from __future__ import annotations

import pytest

from idiolect.web.jobs import worker
from idiolect.web.jobs.clock_watch import ClockWatch

DAY = 86_400.0


class Clocks:
    """Two clocks that run together until one is set."""

    def __init__(self) -> None:
        self.wall, self.steady = 1e9, 50.0

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def make_watch(self) -> ClockWatch:
        return ClockWatch(lambda: self.wall, lambda: self.steady)


@pytest.mark.parametrize("jump", [100 * DAY, -100 * DAY])
def test_clock_watch_waits_a_day_after_the_clock_was_set(jump: float) -> None:
    clocks = Clocks()
    watch = clocks.make_watch()
    assert watch.is_settled()
    clocks.wait(100 * DAY)
    assert watch.is_settled()
    clocks.wall += jump
    assert not watch.is_settled()
    clocks.wait(DAY / 2)
    assert not watch.is_settled()
    clocks.wait(DAY)
    assert watch.is_settled()


def test_clock_watch_lets_small_corrections_pass() -> None:
    clocks = Clocks()
    watch = clocks.make_watch()
    for _ in range(100):
        clocks.wait(3600)
        clocks.wall += 2
        assert watch.is_settled()


def test_worker_does_not_clean_up_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[bool] = []
    monkeypatch.setattr(worker, "clean_up", lambda: cleaned.append(True))
    clocks = Clocks()
    watch = clocks.make_watch()
    worker.clean_up_if_settled(watch)
    clocks.wall += 100 * DAY
    worker.clean_up_if_settled(watch)
    assert cleaned == [True]
