"""Numbers, times and people's texts as a terminal shows them; knows nothing of what they mean."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime


def format_duration(seconds: float) -> str:
    """``8.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_count(number: float, one: str, many: str = "") -> str:
    """``1 person``, ``1,204 people``."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def format_date(seconds: float | None) -> str:
    """Unix seconds as a UTC date; ``unknown`` for ``None``."""
    if seconds is None:
        return "unknown"
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def strip_control_characters(text: str) -> str:
    """The text without control characters, which could steer a terminal; line breaks stay."""
    return "".join(
        c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Co")
    )


def truncate(text: str, width: int = 160) -> str:
    """The text on one line, its middle left out where it is longer than ``width``."""
    line = " ".join(strip_control_characters(text).split())
    if len(line) <= width:
        return line
    head = width * 2 // 3
    return f"{line[:head].rstrip()} … {line[head + 3 - width :].lstrip()}"
