"""Converts dates in many formats to Unix seconds (UTC). Independent of file formats."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz

from idiolect.errors import DataError

_MIN_SECONDS, _MAX_SECONDS = -12_219_292_800.0, 32_503_680_000.0
"""1582-10-15 (the Gregorian calendar) and 3000-01-01."""


def to_unix(value: object) -> float:
    """Return the Unix seconds of a date as data exports write it; a date without a zone is UTC.

    Accepts ISO 8601 text (``2017-01-01 00:00:00``, ``2017-01``), e-mail and tweet dates, years,
    ``YYYYMM`` and ``YYYYMMDD`` as text or number, and Unix seconds, milliseconds or microseconds
    from 100,000,000 seconds (1973) on. Raises DataError for any other value.
    """
    if isinstance(value, bool):
        raise _make_date_error(value)
    if isinstance(value, int | float):
        return _parse_number(value)
    if isinstance(value, str):
        return _parse_text(value)
    raise _make_date_error(value)


def _make_date_error(value: object) -> DataError:
    return DataError(
        f"{value!r} is not a date", hint="use ISO 8601, a year, YYYYMMDD, or Unix seconds"
    )


def _parse_number(value: float) -> float:
    """Parse a year, YYYYMM, YYYYMMDD, or Unix time."""
    if not 0 <= value <= 1e17:  # NaN also fails this
        raise _make_date_error(value)
    # Small whole numbers are calendar dates: 2017, 201703 or 20170304.
    if value == int(value) and 1583 <= value <= 99_991_231:
        return _parse_digits(str(int(value)))
    for scale in (1.0, 1e3, 1e6):  # seconds, milliseconds, microseconds
        if 1e8 <= value / scale <= _MAX_SECONDS:
            return float(value / scale)
    raise _make_date_error(value)


def _parse_digits(digits: str) -> float:
    """Parse a year, YYYYMM or YYYYMMDD."""
    year, month, day = digits[:4], digits[4:6] or "01", digits[6:8] or "01"
    try:
        if len(digits) not in (4, 6, 8):
            raise ValueError
        return _to_timestamp(datetime(int(year), int(month), int(day), tzinfo=UTC))
    except ValueError:
        raise _make_date_error(int(digits)) from None


def _parse_text(text: str) -> float:
    # datetime.fromisoformat does not accept a month without a day.
    text = text.strip()
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
        text += "-01"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and len(text) < 32:
        return _parse_number(float(text) if "." in text else int(text))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _parse_mail_date(text)
    # A date without a zone counts as UTC.
    return _to_timestamp(found if found.tzinfo else found.replace(tzinfo=UTC))


def _parse_mail_date(text: str) -> float:
    """Parse ``Mon, 06 Apr 2009 22:19:45 -0700`` or ``Mon Apr 06 22:19:45 PDT 2009``."""
    # parsedate_tz accepts almost any text, so require a weekday first.
    parts = parsedate_tz(text) if re.match(r"[A-Za-z]{3}\b", text) else None
    try:
        seconds = None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None or not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise _make_date_error(text)
    return seconds


def _to_timestamp(moment: datetime) -> float:
    """Return Unix seconds; raises DataError for dates outside 1582 to 3000."""
    try:
        seconds = moment.timestamp()
    except OverflowError:
        raise _make_date_error(moment.isoformat()) from None
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise _make_date_error(moment.isoformat())
    return seconds
