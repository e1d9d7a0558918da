"""Tests of leaderboards: which players they list, in which order, and the player's own rank."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from idiolect.game.rules.standings import LeaderboardKind, PlayerTotals, rank_players
from idiolect.web.accounts.models import User
from idiolect.web.game import leaderboards
from idiolect.web.game.models import PlayerScore, Word
from support.game_site import create_guests, play_round

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def save_score(
    player: User, rounds: int, points: int, *, days: int = 0, untimed: bool = False
) -> None:
    """Stores these sums for the player, who last played ``days`` days ago."""
    last = NOW - timedelta(days=days)
    PlayerScore.objects.create(
        player=player, rounds=rounds, points=points, last_played=last, untimed=untimed
    )


def list_rows(
    board: LeaderboardKind, player: User | None = None, **how: bool
) -> list[tuple[int, str]]:
    """Returns the ranks and names on a board."""
    found = leaderboards.get_leaderboard(board, player, now=NOW, **how)
    return [(row.rank, row.player) for row in found.rows]


def test_get_leaderboard_orders_by_its_measure(ann: User, ben: User) -> None:
    save_score(ann, 10, 1000)
    save_score(ben, 40, 2000)
    assert list_rows(LeaderboardKind.AVERAGE) == [(1, "ann"), (2, "ben")]
    assert (
        list_rows(LeaderboardKind.TOTAL)
        == list_rows(LeaderboardKind.ROUNDS)
        == [(1, "ben"), (2, "ann")]
    )


def test_get_leaderboard_average_requires_ten_recent_rounds(ann: User, ben: User) -> None:
    save_score(ann, 9, 9000)
    save_score(ben, 10, 10, days=31)
    assert list_rows(LeaderboardKind.AVERAGE) == []
    assert list_rows(LeaderboardKind.TOTAL) == [(1, "ann"), (2, "ben")]


def test_get_leaderboard_hides_guests_but_ranks_them(ann: User) -> None:
    (guest,) = create_guests(1)
    save_score(ann, 10, 100)
    save_score(guest, 10, 900)
    found = leaderboards.get_leaderboard(LeaderboardKind.TOTAL, guest, now=NOW)
    assert [row.player for row in found.rows] == ["ann"]
    assert found.own is not None and found.own.rank == 1
    assert list_rows(LeaderboardKind.TOTAL, ann) == [(1, "ann")]


def test_get_leaderboard_separates_untimed_rounds(ann: User) -> None:
    save_score(ann, 10, 100, untimed=True)
    assert list_rows(LeaderboardKind.TOTAL) == [] and list_rows(
        LeaderboardKind.TOTAL, untimed=True
    ) == [(1, "ann")]


def test_get_leaderboard_ranks_player_beyond_shown_rows(ann: User) -> None:
    for at in range(leaderboards.ROWS + 2):
        save_score(User.objects.create_user(f"p{at}"), 10, 500 + at)
    save_score(ann, 10, 1)
    found = leaderboards.get_leaderboard(LeaderboardKind.TOTAL, ann, now=NOW)
    assert len(found.rows) == leaderboards.ROWS
    assert found.own is not None and (found.own.rank, found.players) == (13, 13)


@pytest.mark.finding("leaderboards")
@pytest.mark.parametrize("board", LeaderboardKind)
def test_get_leaderboard_reads_few_rows_and_ranks_as_the_rules_do(board: LeaderboardKind) -> None:
    draw = Random(3)
    people = [User.objects.create_user(f"player{at:02}") for at in range(40)]
    for person in people:
        rounds = draw.randrange(1, 20)
        save_score(person, rounds, rounds * draw.randrange(3, 9), days=draw.choice((1, 40)))
    everyone = rank_players(
        [
            PlayerTotals(
                player=score.player.username,
                rounds=score.rounds,
                points=score.points,
                last_played=score.last_played,
            )
            for score in PlayerScore.objects.select_related("player")
        ],
        board,
        now=NOW,
    )
    with CaptureQueriesContext(connection) as queries:
        found = leaderboards.get_leaderboard(board, people[7], now=NOW)
    assert found.rows == everyone[: leaderboards.ROWS] and found.players == len(everyone)
    # No query returns the rows of all players.
    reads = [query["sql"] for query in queries]
    assert all("LIMIT" in sql or "COUNT(" in sql for sql in reads) and len(reads) <= 4
    for person in people:
        own = leaderboards.get_leaderboard(board, person, now=NOW).own
        assert own == next((row for row in everyone if row.player == person.username), None)


def test_list_hardest_words_orders_by_points() -> None:
    Word.objects.create(relation="hyponyms", base="bird", rounds=9, points=2000)
    Word.objects.create(relation="meronyms", base="bicycle", rounds=9, points=90)
    Word.objects.create(relation="synonyms", base="happy", rounds=2, points=0)
    hardest = leaderboards.list_hardest_words()[0]
    assert (hardest.base, hardest.mean) == ("bicycle", 10.0)
    assert "happy" not in {word.base for word in leaderboards.list_hardest_words()}


def test_leaderboard_page_switches_boards_with_and_without_htmx(site: Client, ann: User) -> None:
    for _ in range(10):
        play_round(ann, ["shrimp"])
    site.force_login(ann)
    for board in ("average", "total", "rounds", "hardest", "nonsense"):
        page = site.get(f"/nyms/leaders/?board={board}")
        assert page.status_code == 200 and b"<html" in page.content
    part = site.get("/nyms/leaders/?board=total", headers={"HX-Request": "true"}).content
    assert b"<html" not in part and b"ann (you)" in part
