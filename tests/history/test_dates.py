"""Tests of date parsing: each format gives the right second or a DataError."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import DataError
from idiolect.history.dates import to_unix


def make_utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2017", make_utc(2017, 1, 1)),
        (2017, make_utc(2017, 1, 1)),
        (2017.0, make_utc(2017, 1, 1)),
        ("2017-03", make_utc(2017, 3, 1)),
        (201703, make_utc(2017, 3, 1)),
        (20170304, make_utc(2017, 3, 4)),
        ("20170304", make_utc(2017, 3, 4)),
        ("2017-03-04", make_utc(2017, 3, 4)),
        (" 2017-03-04 05:06:07 ", make_utc(2017, 3, 4, 5, 6, 7)),
        ("2017-03-04T05:06:07Z", make_utc(2017, 3, 4, 5, 6, 7)),
        ("2017-03-04T05:06:07+02:00", make_utc(2017, 3, 4, 3, 6, 7)),
        ("1850-01-01", make_utc(1850, 1, 1)),
        (881250949, 881250949.0),
        ("881250949", 881250949.0),
        (1700000000.5, 1700000000.5),
        (1700000000123, 1700000000.123),
        (1700000000123456, 1700000000.123456),
        ("Mon Apr 06 22:19:45 PDT 2009", make_utc(2009, 4, 7, 5, 19, 45)),
        ("Mon, 06 Apr 2009 22:19:45 -0700", make_utc(2009, 4, 7, 5, 19, 45)),
    ],
)
def test_to_unix_reads_known_formats(value: object, seconds: float) -> None:
    assert to_unix(value) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "Mon", "2017-13-01", "20171301", "0001-01-01", "9999-12-31", "9" * 400),
        *(20171301, 12345, 9999, 7, -5, 0, True, None, [2017]),
        *(math.nan, math.inf, -math.inf, 10**400),
    ],
)
def test_to_unix_refuses_other_values(value: object) -> None:
    with pytest.raises(DataError, match="is not a date"):
        to_unix(value)


@given(
    st.text(max_size=30) | st.integers() | st.floats() | st.text("0123456789-T:Z+ .", max_size=20)
)
def test_to_unix_returns_finite_seconds_or_raises(value: object) -> None:
    try:
        seconds = to_unix(value)
    except DataError:
        return
    assert math.isfinite(seconds)


@given(st.datetimes(datetime(1700, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)))
def test_to_unix_is_exact_for_iso_text(moment: datetime) -> None:
    assert to_unix(moment.isoformat()) == moment.timestamp()
