"""Leaderboards: ranks players by their totals, and finds the hardest words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from idiolect.game.rules.choice import WordStats, estimate_difficulty, is_little_played, is_retired

MIN_AVERAGE_ROUNDS = 10
"""Rounds that a player needs to be on the leaderboard of averages."""
ACTIVE_DAYS = 30
"""Players who have not played for this number of days are not on that leaderboard."""


class LeaderboardKind(StrEnum):
    """The value by which players are ranked."""

    AVERAGE = "average"
    TOTAL = "total"
    ROUNDS = "rounds"


@dataclass(frozen=True, kw_only=True)
class PlayerTotals:
    """Sums over a player's finished rounds."""

    player: str
    rounds: int
    points: int
    last_played: datetime


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """A row of a leaderboard. Equal values share a rank, and the next rank skips them (1, 1, 3)."""

    rank: int
    player: str
    value: float


def rank_players(
    totals: Iterable[PlayerTotals], board: LeaderboardKind, *, now: datetime
) -> tuple[LeaderboardRow, ...]:
    """All players who qualify for the leaderboard, best first, equal values by name."""
    values = [
        (_compute_value(player, board), player.player)
        for player in totals
        if _is_ranked(player, board, now)
    ]
    values.sort(key=lambda row: (-row[0], row[1]))
    rows: list[LeaderboardRow] = []
    # Equal values take the rank of the first of them.
    for at, (value, player) in enumerate(values, start=1):
        rank = rows[-1].rank if rows and rows[-1].value == value else at
        rows.append(LeaderboardRow(rank=rank, player=player, value=value))
    return tuple(rows)


def _is_ranked(player: PlayerTotals, board: LeaderboardKind, now: datetime) -> bool:
    if board is not LeaderboardKind.AVERAGE:
        return player.rounds > 0
    active = now - player.last_played <= timedelta(days=ACTIVE_DAYS)
    return player.rounds >= MIN_AVERAGE_ROUNDS and active


def _compute_value(player: PlayerTotals, board: LeaderboardKind) -> float:
    match board:
        case LeaderboardKind.AVERAGE:
            return player.points / player.rounds
        case LeaderboardKind.TOTAL:
            return float(player.points)
        case LeaderboardKind.ROUNDS:
            return float(player.rounds)


def find_hardest_words(words: Iterable[WordStats], *, count: int = 10) -> tuple[WordStats, ...]:
    """The hardest words that are neither little played nor retired, hardest first."""
    known = [w for w in words if not is_little_played(w.rounds) and not is_retired(w)]
    return tuple(sorted(known, key=lambda word: (-estimate_difficulty(word), word.word))[:count])
