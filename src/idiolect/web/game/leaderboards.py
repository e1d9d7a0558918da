"""Leaderboards out of the database: gathers players' and words' sums; the rules order them.

Guests do not stand on a board: their names say nothing, and one person may be many of them.
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
    """The best rows of a board, and the asking player's own row wherever it is."""

    rows: tuple[LeaderboardRow, ...]
    own: LeaderboardRow | None
    players: int


@dataclass(frozen=True, kw_only=True)
class HardWord:
    """A word that brings few points."""

    relation: Relation
    base: str
    rounds: int
    mean: float
    percent: int
    """Its difficulty, 0 to 100."""


def get_leaderboard(
    board: LeaderboardKind, player: Any, *, untimed: bool = False, now: datetime | None = None
) -> LeaderboardPage:
    """Who leads; a guest's own row says where they would stand."""
    shown = Q(player__is_guest=False, player__is_active=True)
    if player is not None:
        shown |= Q(player=player)
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
    if player is not None and player.is_guest:
        public = tuple(row for row in rows if row.player != player.username)
    else:
        public = rows
    return LeaderboardPage(rows=public[:ROWS], own=own, players=len(public))


def list_hardest_words() -> list[HardWord]:
    """The words of all relations that bring the fewest points, hardest first."""
    found = [word for relation in Relation for word in _find_hardest_of_relation(relation)]
    return sorted(found, key=lambda word: (-word.percent, word.base))[:ROWS]


def _find_hardest_of_relation(relation: Relation) -> list[HardWord]:
    played = Word.objects.filter(relation=relation.value, rounds__gte=LITTLE_PLAYED_BELOW)
    asked = frozenset(words.load_table().base_words(relation))
    known = [
        word_selection.make_word_stats(relation, *row)
        for row in played.values_list("base", "rounds", "skips", "points")
        if row[0] in asked
    ]
    return [
        HardWord(
            relation=relation,
            base=word.word,
            rounds=word.rounds,
            mean=word.points / word.rounds,
            percent=round(100 * estimate_difficulty(word)),
        )
        for word in find_hardest_words(known, count=ROWS)
    ]
