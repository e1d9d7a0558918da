"""What was played, as plain values: finished rounds and votes; knows no database and no Django.

Whoever holds the game's data yields these (``data/reading.py`` from the site's database), and
everything that goes out of the game is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One accepted answer: as it was normalised, and the stem under which it counts."""

    text: str
    stem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One finished round of one player; a word that was skipped is no round."""

    id: str
    player: str
    """A name for the player that stays inside the site, e.g. the row's number."""
    relation: str
    """A value of ``rules.Relation``."""
    base_word: str
    finished: float
    """Unix seconds."""
    answers: tuple[AnswerRow, ...]
    """In the order in which they were given, one a stem."""
    untimed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRow:
    """One player's last word on one pair in Nym or Not."""

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
    """Everything that goes out: rounds and votes, in the order in which they ended."""

    rounds: Sequence[RoundRow]
    votes: Sequence[VoteRow] = ()

    @property
    def players(self) -> tuple[str, ...]:
        """Everyone who finished a round or voted, sorted."""
        return tuple(sorted({row.player for row in (*self.rounds, *self.votes)}))
