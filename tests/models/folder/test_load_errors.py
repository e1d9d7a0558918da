from __future__ import annotations

import pytest

from idiolect.models.folder.load_errors import MAX_REASON, describe_load_error, shorten_text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("It failed.", "It failed"),
        ("", "ValueError"),
        ("weight", "ValueError: weight"),
        ("It failed. Try again.", "It failed"),
        ("It failed\nin two lines.\n\nMore.", "It failed in two lines"),
        ("One of:\n  (1) a file,\n  (2) a folder.\nRead more.", "One of: (1) a file, (2) a folder"),
        ("One of:\n\n* a file\n* a folder", "One of: * a file * a folder"),
        ("Give a name, e.g. A or b.\nBye.", "Give a name, e.g. A or b"),
        ("Needs x>=0.4.1 of it.", "Needs x>=0.4.1 of it"),
        ("Red \x1b[31mred\x07 text.", "Red [31mred text"),
    ],
)
def test_describe_load_error_gives_first_sentence_whole(text: str, line: str) -> None:
    assert describe_load_error(ValueError(text)) == line


def test_describe_load_error_cuts_endless_sentence() -> None:
    line = describe_load_error(ValueError("word " * 1000))
    assert len(line) <= MAX_REASON and line.endswith("word…")


def test_shorten_text_keeps_short_text() -> None:
    assert shorten_text("a\n b", 3) == "a b" and shorten_text("abcd", 3) == "ab…"
