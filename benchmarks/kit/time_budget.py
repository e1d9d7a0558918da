"""A time limit that is checked between groups of work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class TimeIsUpError(Exception):
    """The minutes are used up; finished groups are on disk."""


class TimeBudget:
    """Limits the minutes of a run: it stops before a group that would take too long."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def iter_groups(self, work: Sequence[T], size: int) -> Iterator[Sequence[T]]:
        """Yield the work in groups of ``size``.

        Raises TimeIsUpError if the next group would end too late, assuming that it takes as long
        as the longest group so far.
        """
        longest = 0.0
        for start in range(0, len(work), size):
            if time.monotonic() + longest > self.end:
                raise TimeIsUpError
            began = time.monotonic()
            yield work[start : start + size]
            longest = max(longest, time.monotonic() - began)


def iter_groups(clock: TimeBudget | None, work: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the work in groups of ``size`` within the time; one group without a clock."""
    if clock is not None:
        yield from clock.iter_groups(work, size)
    elif work:
        yield work
