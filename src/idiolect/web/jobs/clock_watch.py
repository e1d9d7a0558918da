"""Notices when the clock of the machine is set: what seems to have expired may not have."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

MAX_DRIFT = 3600.0
"""Seconds that the clock may be set by, in one check, without a wait."""
SETTLING = 86_400.0
"""Seconds to wait after that: a day in which the clock can be put right."""

_log = logging.getLogger(__name__)


def read_steady_clock() -> float:
    """Return seconds that run on while the machine sleeps, where the system has such a clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class ClockWatch:
    """Compares the clock of the machine with one that is never set.

    A clock that is set forward by months makes all sessions expire, and guests end with theirs.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = read_steady_clock,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()
        self._settled_at = steady()

    def is_settled(self) -> bool:
        """Return whether what has expired may be deleted: the clock was not set for a day."""
        offset, now = self._wall() - self._steady(), self._steady()
        if abs(offset - self._offset) > MAX_DRIFT:
            self._settled_at = now + SETTLING
            _log.warning(
                "the clock was set by %.0f hours: nothing expires for a day; if the clock is "
                "wrong, put it right before then",
                (offset - self._offset) / 3600,
            )
        self._offset = offset
        return now >= self._settled_at
