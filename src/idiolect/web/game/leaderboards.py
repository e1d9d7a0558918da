"""Reads leaderboards from the database; `idiolect.game.rules.standings` ranks the rows.

Guests are not on the leaderboards, because their names mean nothing and one person may be several
guests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from idiolect.game import words
from idiolect.game.rules.choice import LITTLE_PLAYED_BELOW, estimate_difficulty
from idiolect.game.rules.relations import Relation
from idiolect.game.rules.standings import (
    LeaderboardKind,
    LeaderboardRow,
    PlayerTotals,
    find_hardest_words,
    rank_players,
)
from idiolect.web.game import word_selection
from idiolect.web.game.models import PlayerScore, Word

ROWS = 10


@dataclass(frozen=True, kw_only=True)
class LeaderboardPage:
    """The top rows of a leaderboard, and the current player's own row at any rank."""

    rows: tuple[LeaderboardRow, ...]
    own: LeaderboardRow | None
    players: int


@dataclass(frozen=True, kw_only=True)
class HardWord:
    """A word on which players score few points."""

    relation: Relation
    base: str
    rounds: int
    mean: float
    percent: int
    """Difficulty of the word, from 0 to 100."""


def get_leaderboard(
    board: LeaderboardKind, player: Any, *, untimed: bool = False, now: datetime | None = None
) -> LeaderboardPage:
    """Return a leaderboard; a guest's own row has the rank that they would get with a name."""
    # Guests and deactivated accounts are left out, except for the player who asks.
    shown = Q(player__is_guest=False, player__is_active=True)
    if player is not None:
        shown |= Q(player=player)
    # Timed and untimed rounds have separate leaderboards.
    totals = PlayerScore.objects.filter(shown, untimed=untimed, rounds__gt=0).values_list(
        "player__username", "rounds", "points", "last_played"
    )
    rows = rank_players(
        (
            PlayerTotals(player=name, rounds=rounds, points=points, last_played=last)
            for name, rounds, points, last in totals
        ),
        board,
        now=now or timezone.now(),
    )
    own = next((row for row in rows if player is not None and row.player == player.username), None)
    # A guest who asks was ranked above to find their rank, but is not shown on the board.
    if player is not None and player.is_guest:
        public = tuple(row for row in rows if row.player != player.username)
    else:
        public = rows
    return LeaderboardPage(rows=public[:ROWS], own=own, players=len(public))


def list_hardest_words() -> list[HardWord]:
    """Return the words of all relations on which players score least, hardest first."""
    hardest = [word for relation in Relation for word in _find_hardest_of_relation(relation)]
    return sorted(hardest, key=lambda word: (-word.percent, word.base))[:ROWS]


def _find_hardest_of_relation(relation: Relation) -> list[HardWord]:
    """Return the hardest words of one relation that enough players have played."""
    played = Word.objects.filter(relation=relation.value, rounds__gte=LITTLE_PLAYED_BELOW)
    # The database also keeps words that an older table asked for; skip those.
    base_words = frozenset(words.load_table().base_words(relation))
    stats = [
        word_selection.make_word_stats(relation, *row)
        for row in played.values_list("base", "rounds", "skips", "points")
        if row[0] in base_words
    ]
    return [
        HardWord(
            relation=relation,
            base=word.word,
            rounds=word.rounds,
            mean=word.points / word.rounds,
            percent=round(100 * estimate_difficulty(word)),
        )
        for word in find_hardest_words(stats, count=ROWS)
    ]
