"""A part of the preparation ends in time: asked between one piece of work and the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class TimeIsUpError(Exception):
    """The part's minutes are over; what was finished is on disk."""


class TimeBudget:
    """Counts a part's minutes, and stops before a piece of work that would not fit in."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def iter_groups(self, work: Sequence[T], size: int) -> Iterator[Sequence[T]]:
        """The work in pieces of so many; raises TimeIsUpError where the next, taking as long as
        the longest before it, would end too late."""
        longest = 0.0
        for start in range(0, len(work), size):
            if time.monotonic() + longest > self.end:
                raise TimeIsUpError
            began = time.monotonic()
            yield work[start : start + size]
            longest = max(longest, time.monotonic() - began)


def iter_groups(clock: TimeBudget | None, work: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The work in pieces of so many, or all at once where there is no clock."""
    if clock is not None:
        yield from clock.iter_groups(work, size)
    elif work:
        yield work
