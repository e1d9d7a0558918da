"""Detection of slurs and obscenities, which the site never shows to other players.

Two English lists are used: that of the package glin-profanity (MIT; it also detects leetspeak such
as "sh1t"), and our own list (`profanity.txt`) of ethnic and other slurs that the package lacks. Our
list holds hashes of stems, so that the source contains no slurs. Players may still give such an
answer and score with it; it is only hidden. Listed words that also have a harmless meaning are
hidden too.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, cast

from idiolect.game.rules.answers import stem

_HASH_DIGITS = 16
_SEPARATORS = re.compile(r"[._\-]+"), re.compile(r"[._\-\d]+")


@lru_cache(maxsize=16384)
def is_slur(text: str) -> bool:
    """Whether any word of ``text``, or ``text`` without its spaces, is in one of the lists."""
    words = stem(text).split()
    return any(_hash_word(word) in _load_hashes() for word in (*words, "".join(words))) or bool(
        _load_filter().is_profane(text)
    )


def is_offensive_name(name: str) -> bool:
    """Whether a user name is a slur or an obscenity, or contains one between separators."""
    # Digits separate words too ("x9word"), but not in the first pass: leetspeak needs them.
    parts = (marks.sub(" ", name) for marks in _SEPARATORS)
    return is_slur(name) or any(map(is_slur, parts))


def _hash_word(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:_HASH_DIGITS]


@cache
def _load_hashes() -> frozenset[str]:
    lines = (
        resources.files("idiolect.game").joinpath("profanity.txt").read_text("ascii").splitlines()
    )
    return frozenset(line for line in lines if line and not line.startswith("#"))


@cache
def _load_filter() -> Any:
    # Imported lazily: the package compiles its lists on import, which only the first call needs.
    from glin_profanity import Filter

    return Filter(cast("Any", {"languages": ["english"], "detect_leetspeak": True}))
