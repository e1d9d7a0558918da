"""Finished rounds and votes as plain values, without a database.

The site reads them from its database (``web/game/export_reader.py``); every export of the game
takes them as input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One accepted answer: its normalized text, and the stem that it is compared by."""

    text: str
    stem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One finished round of one player. A skipped word is not a round."""

    id: str
    player: str
    """An internal id of the player, e.g. the primary key; it is never exported."""
    relation: str
    """A value of ``rules.Relation``."""
    base_word: str
    finished: float
    """Unix seconds."""
    answers: tuple[AnswerRow, ...]
    """In the order in which they were given, one per stem."""
    untimed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRow:
    """One player's vote on one pair in Nym or Not."""

    player: str
    relation: str
    base_word: str
    answer: str
    stem: str
    yes: bool
    given: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plays:
    """All rounds and votes that an export covers, oldest first."""

    rounds: Sequence[RoundRow]
    votes: Sequence[VoteRow] = ()

    @property
    def players(self) -> tuple[str, ...]:
        """All players who finished a round or voted, sorted."""
        return tuple(sorted({row.player for row in (*self.rounds, *self.votes)}))
