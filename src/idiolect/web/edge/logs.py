"""Logs that a visitor can neither forge nor fill.

A visitor chooses paths, names and headers, and can cause the same message any number of times. So
each message is one short line, and each place in the code logs only so often.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

MAX_MESSAGE = 500
"""Characters of a message, after unprintable ones are escaped."""
MAX_TRACEBACK = 4_000
"""Characters of a traceback. Its end is kept: it names the error."""
_MARGIN = "  | "


class OneLineFormatter(logging.Formatter):
    """Writes each message on one line, and the lines of a traceback behind a margin.

    So no text of a visitor can look like another message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of the record, with its traceback below it."""
        record.exc_text = None  # another formatter may have left a traceback without a margin
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """Return the line; its message is escaped and short."""
        record.message = _shorten(_escape(record.message[:MAX_MESSAGE]))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's name)
        """Return the end of the traceback, with a margin before each line."""
        text = super().formatException(ei)[-MAX_TRACEBACK:]
        return "\n".join(_MARGIN + _escape(line) for line in text.split("\n"))


def _escape(text: str) -> str:
    """Replace line ends, control characters and invisible characters by escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _shorten(text: str) -> str:
    return text if len(text) < MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."


class RepeatLimit(logging.Filter):
    """Lets a burst of messages from one place in the code pass, then one per interval.

    The next message that passes says how many were left out. Errors of different types are counted
    apart, although Django logs all of them in one place.
    """

    def __init__(
        self,
        burst: int = 100,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._lock = threading.Lock()
        # For each place: when its whole burst is available again, and how many were left out.
        self._places: dict[tuple[Any, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written."""
        error = record.exc_info[0] if record.exc_info else None
        # Not the message: a visitor may have written it.
        place = (record.name, record.pathname, record.lineno, error)
        now = self._clock()
        with self._lock:
            free_at, left_out = self._places.get(place, (now, 0))
            if free_at > now + (self._burst - 1) * self._seconds:
                self._places[place] = (free_at, left_out + 1)
                return False
            self._places[place] = (max(free_at, now) + self._seconds, 0)
        if left_out:
            record.msg = f"({left_out} like this left out) {record.getMessage()}"
            record.args = None
        return True
