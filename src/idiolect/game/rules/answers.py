"""What a typed answer is: its text as kept, its stem as compared; knows no scores.

An answer is compared by its *stem*: Porter's, word by word, without a leading article, with hyphens
as spaces and irregular plurals as their singulars, so that "the Ice-Creams" and "ice cream" are one
answer, and so are "teeth" and "tooth".
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
"""Longer answers are cut."""

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
_ARTICLES = frozenset({"a", "an", "the", "some"})
_MAX_INPUT_CHARS = 4 * MAX_CHARS


def normalize_answer(text: str) -> str:
    """The answer as it is kept: NFKC, lower case, single spaces, at most 50 characters.

    Characters that are not seen (control, format, unassigned) go, and so does punctuation at the
    edges. A text without a letter or a digit is "".
    """
    # Cut early: normalising must not cost more because somebody sends a megabyte.
    text = unicodedata.normalize("NFKC", text[:_MAX_INPUT_CHARS].translate(_QUOTES)).lower()
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    text = " ".join(unicodedata.normalize("NFKC", text).split())
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
    """Irregular plurals, which ship with the table of words."""
    text = resources.files("idiolect.game.wordnet").joinpath("plurals.tsv").read_text("utf-8")
    return dict(line.split("\t") for line in text.splitlines())


@lru_cache(maxsize=65536)
def stem(text: str) -> str:
    """What answers are compared by; "" where nothing of the text counts."""
    words = re.split(r"[\s_\-\u2010-\u2015]+", normalize_answer(text))
    words = [word.removesuffix("'s").strip("'") for word in words]
    words = [_load_singulars().get(word, word) for word in words if word]
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    # Cut as the answer is: "ovum" for "ova" lengthens it.
    return " ".join(_load_stemmer().stemWords(words))[:MAX_CHARS].strip()


def filter_accepted(base_word: str, answers: Iterable[str]) -> tuple[str, ...]:
    """The answers that count, normalised, in the order they were given.

    The base word does not count, in whatever form, spelling apart ("sea-food") or repetition; of
    each stem the first answer counts, and only the first `MAX_ANSWERS` are looked at.
    """
    own = stem(base_word)
    seen = {own, ""}
    kept: list[str] = []
    for text, _ in zip(answers, range(MAX_ANSWERS), strict=False):
        answer = normalize_answer(text)
        key = stem(answer)
        if set(key.split()) <= set(own.split()) or key.replace(" ", "") == own.replace(" ", ""):
            continue
        if key not in seen:
            seen.add(key)
            kept.append(answer)
    return tuple(kept)
