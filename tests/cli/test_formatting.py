"""Formatting of numbers, times and untrusted text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.cli.formatting import (
    format_bytes,
    format_count,
    format_date,
    format_duration,
    join_reasons,
    strip_control_characters,
    truncate,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_format_duration_rounds_to_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_format_count_uses_singular_and_plural() -> None:
    assert format_count(1, "person", "people") == "1 person"
    assert format_count(1204, "person", "people") == "1,204 people"
    assert format_count(0, "token") == "0 tokens"


def test_format_date_uses_utc() -> None:
    assert format_date(0) == "1970-01-01"
    assert format_date(86399.9) == "1970-01-01"
    assert format_date(None) == "unknown"


def test_strip_control_characters_keeps_only_printable_text() -> None:
    assert (
        strip_control_characters("a\x1b[31mb\x07c\x9bd\r\ne\tf é 漢 👍") == "a[31mbcd\ne\tf é 漢 👍"
    )


@given(st.text(), st.integers(min_value=20, max_value=200))
def test_truncate_returns_one_line_within_width(text: str, width: int) -> None:
    line = truncate(text, width)
    assert len(line) <= width
    assert "\n" not in line and "\x1b" not in line


def test_truncate_keeps_both_ends() -> None:
    words = " ".join(str(n) for n in range(200))
    line = truncate(words, 60)
    assert line.startswith("0 1 2 ") and line.endswith(" 198 199") and " … " in line
    assert truncate("short\n text") == "short text"


@pytest.mark.parametrize(
    ("number", "text"),
    [(52_000, "0.05 MB"), (9_216_000, "9.2 MB"), (269e6, "269 MB"), (1.58e9, "1.6 GB")],
)
def test_format_bytes_uses_two_digits(number: float, text: str) -> None:
    assert format_bytes(number) == text


def test_join_reasons_says_each_remedy_once() -> None:
    reasons = ["a: gone; copy it", "b: gone; copy it", "c: broken", "d: odd; look; again"]
    assert join_reasons(reasons) == [
        "a: gone, b: gone; copy it",
        "c: broken",
        "d: odd; look; again",
    ]
