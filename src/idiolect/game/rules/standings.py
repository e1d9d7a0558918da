"""Leaderboards: who is where; knows totals of players, not their rounds, and is told the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from idiolect.game.rules.choice import WordStats, difficulty, is_little_played, is_retired

AVERAGE_ROUNDS = 10
"""Rounds a player needs to stand on the board of averages."""
ACTIVE_DAYS = 30
"""Who has not played for so long leaves that board."""


class Board(StrEnum):
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
class Standing:
    """A row of a leaderboard; equal values share a rank, and the next one counts them all."""

    rank: int
    player: str
    value: float


def standings(
    totals: Iterable[PlayerTotals], board: Board, *, now: datetime
) -> tuple[Standing, ...]:
    """Everybody who stands on the board, best first, equals by name; one's own rank too."""
    values = [
        (_value(player, board), player.player) for player in totals if _on(player, board, now)
    ]
    values.sort(key=lambda row: (-row[0], row[1]))
    rows: list[Standing] = []
    for at, (value, player) in enumerate(values, start=1):
        rank = rows[-1].rank if rows and rows[-1].value == value else at
        rows.append(Standing(rank=rank, player=player, value=value))
    return tuple(rows)


def _on(player: PlayerTotals, board: Board, now: datetime) -> bool:
    if board is not Board.AVERAGE:
        return player.rounds > 0
    active = now - player.last_played <= timedelta(days=ACTIVE_DAYS)
    return player.rounds >= AVERAGE_ROUNDS and active


def _value(player: PlayerTotals, board: Board) -> float:
    match board:
        case Board.AVERAGE:
            return player.points / player.rounds
        case Board.TOTAL:
            return float(player.points)
        case Board.ROUNDS:
            return float(player.rounds)


def hardest_words(words: Iterable[WordStats], *, count: int = 10) -> tuple[WordStats, ...]:
    """The hardest words that enough players have finished and that are still asked."""
    known = [w for w in words if not is_little_played(w.rounds) and not is_retired(w)]
    return tuple(sorted(known, key=lambda word: (-difficulty(word), word.word))[:count])
