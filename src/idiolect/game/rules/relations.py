"""The four word relations: their questions and time limits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Relation(StrEnum):
    """How the answers of a round relate to its base word. The value is the stored name."""

    SYNONYMS = "synonyms"
    ANTONYMS = "antonyms"
    HYPONYMS = "hyponyms"
    MERONYMS = "meronyms"


ROUND_SECONDS: Mapping[Relation, int] = MappingProxyType(
    {
        Relation.SYNONYMS: 10,
        Relation.ANTONYMS: 10,
        Relation.HYPONYMS: 15,
        Relation.MERONYMS: 20,
    }
)
"""Length of a timed round."""

GRACE_SECONDS = 1.0
"""Time after the end of a round in which answers are still accepted, for network delay."""

MAX_ANSWERS = 60
"""Maximum number of answers per round. In the longest timed round this is three per second, more
than a player can type; an untimed round can reach it."""


def is_in_time(relation: Relation, elapsed: float, *, untimed: bool = False) -> bool:
    """Whether answers count if they arrive ``elapsed`` seconds after the server began the round."""
    return elapsed >= 0 and (untimed or elapsed <= ROUND_SECONDS[relation] + GRACE_SECONDS)


def format_question(relation: Relation, base_word: str, determiner: str = "") -> str:
    """The question of a round; ``determiner`` is that of the base word ("a", "an", "the" or "").

    Questions for hyponyms omit it: "kinds of bird", not "kinds of a bird".
    """
    word = f"{determiner} {base_word}" if determiner else base_word
    match relation:
        case Relation.SYNONYMS:
            return f"What is another word for {word}?"
        case Relation.ANTONYMS:
            return f"What is the opposite of {word}?"
        case Relation.HYPONYMS:
            return f"What are kinds of {base_word}?"
        case Relation.MERONYMS:
            return f"What are parts of {word}?"
