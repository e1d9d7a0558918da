"""Formats numbers, times and untrusted text for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime


def format_duration(seconds: float) -> str:
    """Return e.g. ``8.2 s``, ``3 min 20 s``, or ``2 h 5 min``."""
    # Round first, so that 59.96 s becomes 1 min 0 s and not 60.0 s.
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_count(number: float, one: str, many: str = "") -> str:
    """Return e.g. ``1 person`` or ``1,204 people``; the default plural is ``one`` with an s."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def format_bytes(number: float) -> str:
    """Return e.g. ``0.52 MB``, ``18 MB`` or ``1.3 GB`` (powers of 1,000), with two digits."""
    unit, size = ("GB", 1e9) if number >= 1e9 else ("MB", 1e6)
    value = number / size
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:,.{digits}f} {unit}"


def format_date(seconds: float | None) -> str:
    """Return Unix seconds as a UTC date (ISO 8601), or ``unknown`` for ``None``."""
    if seconds is None:
        return "unknown"
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def strip_control_characters(text: str) -> str:
    """Remove control characters, which could control the terminal; keep line breaks and tabs."""
    # Cc: controls, including escape. Cs: surrogates. Co: private use.
    return "".join(
        c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Co")
    )


def join_reasons(reasons: Iterable[str]) -> list[str]:
    """Return one text for all reasons with the same remedy, which is what follows the first
    semicolon; e.g. ``a: is missing, b: is missing; restore it``."""
    places: dict[str, list[str]] = {}
    for reason in reasons:
        place, _, remedy = reason.partition("; ")
        places.setdefault(remedy, []).append(place)
    return ["; ".join(filter(None, (", ".join(p), remedy))) for remedy, p in places.items()]


def truncate(text: str, width: int = 160) -> str:
    """Return the text on one line; if it is longer than ``width``, replace its middle with …."""
    line = " ".join(strip_control_characters(text).split())
    if len(line) <= width:
        return line
    head = width * 2 // 3
    return f"{line[:head].rstrip()} … {line[head + 3 - width :].lstrip()}"
