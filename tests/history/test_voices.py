"""Tests of whose words the lines of a text are."""

from __future__ import annotations

import pytest

from idiolect.history.voices import find_spoken_text, make_line_prefix, split_lines, strip_speaker


@pytest.mark.finding("second-voices")
@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("> it rains\n>> really\nno", [("it rains", ""), ("really", "")]),
        (
            "On 3 May 2024, Runa wrote:\n\n> it rains\n> a lot\nno",
            [("", "Runa"), ("it rains", "Runa"), ("a lot", "Runa")],
        ),
        ("Forwarded from Runa\nit rains\n\nno", [("", "Runa"), ("it rains", "Runa")]),
        ("[Forwarded from Runa]: it rains", [("it rains", "Runa")]),
        ("Fwd: it rains", [("it rains", "")]),
        (
            "---------- Forwarded message ---------\nFrom: Runa <r@a.org>\nDate: today\n\nrain",
            [("", ""), ("", "Runa"), ("", "Runa"), ("rain", "Runa")],
        ),
        ("I forwarded it to Runa > Oskar\n>:( no\n>.<\nshe said: no", []),
    ],
)
def test_split_lines_finds_quoted_text(text: str, quoted: list[tuple[str, str]]) -> None:
    found = split_lines(text)
    assert [line.raw for line in found] == text.split("\n")
    assert [(line.text, line.speaker) for line in found if line.is_quoted] == quoted


def test_find_spoken_text_reads_names_in_lines() -> None:
    assert make_line_prefix(" Dr.\n No ") == "them (Dr. No):"
    assert find_spoken_text("them (Dr. No): hi", "Dr. No", is_only_other=False) == "hi"
    assert find_spoken_text("quoted (Dr. No): hi", "Dr. No", is_only_other=False) == "hi"
    assert find_spoken_text("them: hi", "Dr. No", is_only_other=True) == "hi"
    assert find_spoken_text("them: hi", "Dr. No", is_only_other=False) is None
    assert find_spoken_text("them (Dr. Nobel): hi", "Dr. No", is_only_other=True) is None
    assert [strip_speaker(x) for x in ("me: a", "them (x): b", "quoted: c", "d")] == [*"abcd"]
