"""Reads leaderboards from the database; `idiolect.game.rules.standings` ranks the rows.

Guests are not on the leaderboards, because their names mean nothing and one person may be several
guests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, FloatField, QuerySet
from django.db.models.functions import Cast
from django.utils import timezone

from idiolect.game import words
from idiolect.game.rules.choice import LITTLE_PLAYED_BELOW, estimate_difficulty
from idiolect.game.rules.relations import Relation
from idiolect.game.rules.standings import (
    ACTIVE_DAYS,
    MIN_AVERAGE_ROUNDS,
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
    now = now or timezone.now()
    # Timed and untimed rounds have separate leaderboards. The database sorts and counts, so that
    # a page reads a few rows, however many players there are.
    totals = PlayerScore.objects.filter(untimed=untimed, rounds__gt=0)
    if board is LeaderboardKind.AVERAGE:
        active = now - timedelta(days=ACTIVE_DAYS)
        totals = totals.filter(rounds__gte=MIN_AVERAGE_ROUNDS, last_played__gte=active)
    totals = totals.annotate(value=_VALUES[board])
    public = totals.filter(player__is_guest=False, player__is_active=True)
    best = public.order_by("-value", "player__username")[:ROWS]
    return LeaderboardPage(
        rows=rank_players(map(_to_totals, best.select_related("player")), board, now=now),
        own=_find_own_row(public, totals.filter(player=player).select_related("player").first()),
        players=public.count(),
    )


_VALUES = {
    LeaderboardKind.AVERAGE: Cast("points", FloatField()) / F("rounds"),
    LeaderboardKind.TOTAL: F("points"),
    LeaderboardKind.ROUNDS: F("rounds"),
}
"""The value by which the database sorts a board, as `rank_players` does."""


def _to_totals(score: PlayerScore) -> PlayerTotals:
    return PlayerTotals(
        player=score.player.username,
        rounds=score.rounds,
        points=score.points,
        last_played=score.last_played,
    )


def _find_own_row(public: QuerySet[PlayerScore], own: Any) -> LeaderboardRow | None:
    """Return a player's row: their rank is the number of public rows with a higher value, plus 1.

    ``own`` is the player's annotated score; None if the player is not ranked.
    """
    if own is None:
        return None
    rank = 1 + public.filter(value__gt=own.value).count()
    return LeaderboardRow(rank=rank, player=own.player.username, value=float(own.value))


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
