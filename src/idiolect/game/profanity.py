"""Whether an answer is a slur or an obscenity, which is never shown to other players.

Two lists, both English: the one of the package glin-profanity (MIT; it also sees through leetspeak
such as "sh1t"), and ours of ethnic and other slurs which that one lacks. Ours holds hashes of
stems, so that nobody has to read slurs in the source. Such an answer may still be given and scored;
it is only not shown. Words with a harmless meaning that stand in these lists stay unseen too.
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
    """Whether any word of ``text``, or all of it written together, stands in a list."""
    words = stem(text).split()
    return any(_hash_word(word) in _load_hashes() for word in (*words, "".join(words))) or bool(
        _load_filter().is_profane(text)
    )


def is_offensive_name(name: str) -> bool:
    """Whether a name that others see is a slur or an obscenity, or has one between its marks."""
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
    # Imported here: it compiles its lists, which only the first result page has to wait for.
    from glin_profanity import Filter

    return Filter(cast("Any", {"languages": ["english"], "detect_leetspeak": True}))
