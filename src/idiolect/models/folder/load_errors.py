"""Turns the errors of transformers and its helpers into one line."""

from __future__ import annotations

import re

MAX_REASON = 400
"""Longest reason, in characters."""
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'`<(])|\n\s*\n")
_LAST_WORDS = re.compile(r"\b(?:e\.g|i\.e|etc|vs|No)\.$")


def describe_load_error(error: BaseException) -> str:
    """Return the first sentence of an error on one line; the class's name if it has no text.

    Messages of transformers have several lines, and a sentence that ends with a colon says nothing
    without the lines after it: those belong to it.
    """
    parts = [part for part in _END_OF_SENTENCE.split(str(error).strip()) if part.strip()]
    if not parts:
        return type(error).__name__
    text = parts.pop(0)
    while parts and (text.rstrip().endswith(":") or _LAST_WORDS.search(text.rstrip())):
        text = f"{text} {parts.pop(0)}"
    line = " ".join(text.split())
    # A bare word, as in ``KeyError: 'weight'``, needs the class's name.
    if " " not in line:
        line = f"{type(error).__name__}: {line}"
    return shorten_text(line.rstrip(".:"), MAX_REASON)


def shorten_text(text: str, width: int) -> str:
    """Return the text on one line without control characters, cut at ``width`` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"
