"""Numbers, addresses and names in a text: short strings whose disclosure harms a person most.

The patterns find candidates only. What makes a candidate a secret is that the base model would
hardly say it; the attacks decide that (``extraction.py``). So a pattern may be too broad: it need
not tell a name from another capitalized word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from idiolect.privacy.search.patterns import normalize_text

StringKind = Literal["email", "web address", "street", "phone", "number", "code", "name"]

_MIN_DIGITS = 4
_MIN_PHONE_DIGITS = 7
_STREET_WORDS = (
    "street|st|road|rd|lane|ln|avenue|ave|drive|dr|way|court|ct|square|sq|place|pl|boulevard|blvd|"
    "close|crescent|terrace|row|hill|gardens|park"
)
_PATTERNS: tuple[tuple[StringKind, re.Pattern[str]], ...] = (
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    (
        "web address",
        re.compile(r"(?:https?://|www\.)[^\s<>\"']+|\b[\w-]+\.(?:com|org|net|io)\b\S*"),
    ),
    (
        "street",
        re.compile(
            rf"\b\d{{1,5}}[a-z]?,?\s+(?:[\w'’.-]+\s+){{1,3}}?(?:{_STREET_WORDS})\b"
            r"|\b[\w-]+(?:straße|strasse|gasse|platz|weg)\s+\d+"
            r"|\b(?:rue|via|calle|avenida)\s+[\w' ’.-]+?\s*\d+",
            re.IGNORECASE,
        ),
    ),
    # Digits with the separators of phone numbers, cards and accounts between them.
    ("number", re.compile(r"(?<!\w)\+?\(?\d(?:[\s().\-/]{0,2}\d){3,}(?!\w)")),
    ("code", re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{5,}\b")),
    # Capitalized words that do not begin the text or a sentence.
    ("name", re.compile(r"(?<=[\w,;] )[A-Z][\w'’-]{2,}(?: [A-Z][\w'’-]+)*")),
)
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True, slots=True)
class PersonalString:
    """A string of a text, with its place in characters."""

    kind: StringKind
    text: str
    start: int
    end: int

    @property
    def key(self) -> str:
        """The form in which two strings are compared: only the digits of a number."""
        return make_key(self.kind, self.text)


def make_key(kind: StringKind, text: str) -> str:
    """Return a string without what may differ between two ways to write it."""
    if kind in ("phone", "number"):
        return "".join(filter(str.isdigit, text))
    return normalize_text(text).rstrip(".,;:!?")


def find_personal_strings(text: str) -> Iterator[PersonalString]:
    """Yield the candidates of a text; each part of it belongs to the first kind that matches."""
    taken: list[tuple[int, int]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(start < last and first < end for first, last in taken):
                continue
            digits = sum(map(str.isdigit, match.group()))
            # A year alone identifies no person.
            if kind == "number" and (digits < _MIN_DIGITS or _YEAR.fullmatch(match.group())):
                continue
            taken.append((start, end))
            is_phone = kind == "number" and digits >= _MIN_PHONE_DIGITS
            yield PersonalString("phone" if is_phone else kind, match.group(), start, end)


def contains_string(kind: StringKind, key: str, text: str) -> bool:
    """Whether a text says a string with this key, however it is written."""
    if kind in ("phone", "number"):
        # Digits with anything but letters and digits between them.
        pattern = r"[^\w]{0,3}".join(map(re.escape, key))
        return re.search(rf"(?<!\d){pattern}(?!\d)", text) is not None
    return re.search(rf"(?<!\w){re.escape(key)}(?!\w)", normalize_text(text)) is not None
