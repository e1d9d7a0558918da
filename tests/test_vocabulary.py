"""Words that a practitioner stumbles over stay out of the code, the help and the pages.

The rules are in CONTRIBUTING.md. The list is short: words that were frequent once and have a plain
replacement. Data is not searched: word lists, measured results, and what Django writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPLACEMENTS = {
    "anew": "again; from the beginning",
    "anybody": "a person; any person",
    "as it stands": "unchanged; now",
    "as they stand": "unchanged; now",
    "everybody": "each person; all people",
    "hereby": "(leave it out)",
    "newcomer": "target user",
    "newcomers": "target users",
    "nobody": "no person",
    "so many": "n; the number of",
    "somebody": "a person",
    "thereby": "so; this",
    "thereof": "of it",
    "whoever": "people who; each person who",
    "whomever": "a person that",
}
WORDS = re.compile(rf"(?<![\w-])({'|'.join(REPLACEMENTS)})(?![\w-])", re.IGNORECASE)
KEY = re.compile(r"""(?<=["'`.])newcomers?(?![\w-])""")
"""A stored key: quoted, or an attribute in a template. Files that people have keep their keys."""
PLACES = ("src", "docs", "examples", "benchmarks")
SUFFIXES = (".py", ".html", ".jinja", ".md", ".js", ".css")
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")


def iter_files() -> Iterator[Path]:
    """The files that people read, without those that a program writes."""
    yield from (ROOT / name for name in PAGES)
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix in SUFFIXES and "__pycache__" not in path.parts:
                yield path


def find_words(text: str) -> list[str]:
    """The listed words in a text, each with its line number and what to write instead."""
    return [
        f"line {number}: {word!r}, better: {REPLACEMENTS[word.lower()]}"
        for number, line in enumerate(text.splitlines(), 1)
        for word in WORDS.findall(KEY.sub("", line))
    ]


def test_no_file_has_a_listed_word() -> None:
    found = {
        str(path.relative_to(ROOT)): words
        for path in iter_files()
        if (words := find_words(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_find_words_names_line_and_replacement() -> None:
    assert find_words("It is\nmade Anew.") == ["line 2: 'Anew', better: again; from the beginning"]
    assert find_words("renewed, so-many, nobody_") == []


def test_find_words_allows_stored_keys() -> None:
    assert find_words("found['newcomers'], {{ report.newcomers }}, `newcomer`") == []
    assert len(find_words("each newcomer")) == 1
