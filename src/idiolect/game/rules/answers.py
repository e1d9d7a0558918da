"""Normalizing and stemming of typed answers, and the rule for which answers count.

Answers are compared by their *stem*: each word goes through the Porter stemmer, a leading article
is dropped, hyphens become spaces, and irregular plurals become singulars. So "the Ice-Creams" and
"ice cream" are the same answer, and so are "teeth" and "tooth".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources
from typing import Any, cast

import Stemmer

from idiolect.game.rules.relations import MAX_ANSWERS

MAX_CHARS = 50
"""Longer answers are truncated to this length."""

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
_ARTICLES = frozenset({"a", "an", "the", "some"})
_MAX_INPUT_CHARS = 4 * MAX_CHARS


def normalize_answer(text: str) -> str:
    """The answer as it is stored: NFKC, lower case, single spaces, at most 50 characters.

    Removes invisible characters (control, format, unassigned) and punctuation at both ends.
    Returns "" for a text without a letter or a digit.
    """
    # Truncate first, so that a client that sends a megabyte does not cost more time.
    text = unicodedata.normalize("NFKC", text[:_MAX_INPUT_CHARS].translate(_QUOTES)).lower()
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    # Normalize again: removing characters may have created new sequences that NFKC composes.
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    # Marks ("M") are stripped only at the start: at the end they belong to the letter before them.
    start = next((at for at, c in enumerate(text) if not _is_edge(c, "PZM")), len(text))
    text = text[start : start + MAX_CHARS]
    end = next((at for at in range(len(text), 0, -1) if not _is_edge(text[at - 1], "PZ")), 0)
    return text[:end] if any(c.isalnum() for c in text[:end]) else ""


def _is_edge(c: str, categories: str) -> bool:
    return unicodedata.category(c)[0] in categories or c in "`^~"


@cache
def _load_stemmer() -> Any:
    return cast("Any", Stemmer).Stemmer("porter")


@cache
def _load_singulars() -> dict[str, str]:
    """Singulars by irregular plural, from the file next to the word table."""
    text = resources.files("idiolect.game.wordnet").joinpath("plurals.tsv").read_text("utf-8")
    return dict(line.split("\t") for line in text.splitlines())


@lru_cache(maxsize=65536)
def stem(text: str) -> str:
    """The form by which answers are compared; "" if nothing is left of the text."""
    # Spaces, underscores and all hyphens and dashes separate words.
    words = re.split(r"[\s_\-\u2010-\u2015]+", normalize_answer(text))
    words = [word.removesuffix("'s").strip("'") for word in words]
    words = [_load_singulars().get(word, word) for word in words if word]
    # An article on its own stays, as it may be the whole answer.
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    # Truncate again: a singular may be longer than its plural ("ovum" for "ova").
    return " ".join(_load_stemmer().stemWords(words))[:MAX_CHARS].strip()


def filter_accepted(base_word: str, answers: Iterable[str]) -> tuple[str, ...]:
    """The answers that count, normalized, in the order in which they were given.

    The base word itself does not count, in any inflection, with other word breaks ("sea-food"), or
    repeated. If several answers share a stem, the first one counts. Answers after the first
    `MAX_ANSWERS` are ignored.
    """
    own = stem(base_word)
    seen = {own, ""}
    kept: list[str] = []
    # Zipping with a range stops reading after MAX_ANSWERS, even from an endless iterable.
    for text, _ in zip(answers, range(MAX_ANSWERS), strict=False):
        answer = normalize_answer(text)
        key = stem(answer)
        # Skip the base word, its repetitions, and its spellings with other word breaks.
        if set(key.split()) <= set(own.split()) or key.replace(" ", "") == own.replace(" ", ""):
            continue
        if key not in seen:
            seen.add(key)
            kept.append(answer)
    return tuple(kept)
