"""Leaderboards and the list of the hardest words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from idiolect.game.rules.choice import WordStats
from idiolect.game.rules.standings import (
    LeaderboardKind,
    PlayerTotals,
    find_hardest_words,
    rank_players,
)

NOW = datetime(2030, 1, 31, tzinfo=UTC)


def make_totals(name: str, rounds: int, points: int, days: float = 0) -> PlayerTotals:
    return PlayerTotals(
        player=name, rounds=rounds, points=points, last_played=NOW - timedelta(days=days)
    )


def test_rank_players_orders_each_leaderboard() -> None:
    people = [
        make_totals("steady", 10, 1000),
        make_totals("few", 9, 9000),
        make_totals("gone", 50, 50_000, days=31),
        make_totals("equal", 20, 2000, days=30),
        make_totals("poor", 10, 10),
        make_totals("never", 0, 0),
    ]
    rows = [
        (row.rank, row.player, row.value)
        for row in rank_players(people, LeaderboardKind.AVERAGE, now=NOW)
    ]
    assert rows == [(1, "equal", 100), (1, "steady", 100), (3, "poor", 1)]
    assert [row.player for row in rank_players(people, LeaderboardKind.TOTAL, now=NOW)][:2] == [
        "gone",
        "few",
    ]
    assert [row.player for row in rank_players(people, LeaderboardKind.ROUNDS, now=NOW)] == [
        "gone",
        "equal",
        "poor",
        "steady",
        "few",
    ]


def test_find_hardest_words_skips_little_played_and_retired_words() -> None:
    words = [
        WordStats(word="hard", rounds=10, points=100),
        WordStats(word="easy", rounds=10, points=4000),
        WordStats(word="unknown", rounds=1, points=0),
        WordStats(word="retired", rounds=10, skips=90, points=0),
    ]
    assert [word.word for word in find_hardest_words(words)] == ["hard", "easy"]
    assert [word.word for word in find_hardest_words(words, count=1)] == ["hard"]
