"""Leaderboards: who is where; knows totals of players, not their rounds, and is told the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from idiolect.game.rules.choice import WordStats, estimate_difficulty, is_little_played, is_retired

MIN_AVERAGE_ROUNDS = 10
"""Rounds a player needs to stand on the board of averages."""
ACTIVE_DAYS = 30
"""Who has not played for so long leaves that board."""


class LeaderboardKind(StrEnum):
    """What players are ordered by."""

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
    """A row of a leaderboard; equal values share a rank, and the next one counts them all."""

    rank: int
    player: str
    value: float


def rank_players(
    totals: Iterable[PlayerTotals], board: LeaderboardKind, *, now: datetime
) -> tuple[LeaderboardRow, ...]:
    """Everybody who stands on the board, best first, equals by name; one's own rank too."""
    values = [
        (_compute_value(player, board), player.player)
        for player in totals
        if _is_ranked(player, board, now)
    ]
    values.sort(key=lambda row: (-row[0], row[1]))
    rows: list[LeaderboardRow] = []
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
    """The hardest words that enough players have finished and that are still asked."""
    known = [w for w in words if not is_little_played(w.rounds) and not is_retired(w)]
    return tuple(sorted(known, key=lambda word: (-estimate_difficulty(word), word.word))[:count])
