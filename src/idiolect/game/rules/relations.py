"""The four relations: how they are asked and how long a player has; knows no answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Relation(StrEnum):
    """What the answers of a round are to its base word; the value is its name everywhere."""

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
"""How long a timed round lasts."""

GRACE_SECONDS = 1.0
"""Seconds that an answer may be under way after a round has ended."""

MAX_ANSWERS = 60
"""Answers of a round that are looked at: three a second in the longest round, which nobody types;
an untimed round may reach it."""


def is_in_time(relation: Relation, elapsed: float, *, untimed: bool = False) -> bool:
    """Whether answers count that arrive ``elapsed`` seconds after the server started the round."""
    return elapsed >= 0 and (untimed or elapsed <= ROUND_SECONDS[relation] + GRACE_SECONDS)


def format_question(relation: Relation, base_word: str, determiner: str = "") -> str:
    """What the player is asked; ``determiner`` is the base word's own ("a", "an", "some", "the").

    Kinds are asked without a determiner: a kind of bird, not a kind of a bird.
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
