"""Nym or Not, and the leaderboards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.game.rules.choice import WordStats
from idiolect.game.rules.pairs import (
    PAIRS_PER_SESSION,
    Pair,
    Vote,
    choose_next_pairs,
    find_majority,
    score_vote,
)
from idiolect.game.rules.relations import Relation
from idiolect.game.rules.standings import (
    LeaderboardKind,
    PlayerTotals,
    find_hardest_words,
    rank_players,
)


def pair(answer: str = "crab", **known: float) -> Pair:
    return Pair(relation=Relation.HYPONYMS, base_word="seafood", answer=answer, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"yes": 2, "no": 1}, True),
        ({"yes": 1, "no": 2, "likely": 1.0}, False),
        ({"yes": 2, "no": 0}, None),
        ({"yes": 0, "no": 2, "likely": 1.0}, True),
        ({"yes": 2, "no": 2, "likely": 0.0}, False),
        ({"yes": 2, "no": 2}, None),
        ({"likely": 0.8}, None),
    ],
)
def test_the_majority_decides_once_three_have_voted(known, says) -> None:
    assert find_majority(pair(**known)) is says


def test_points_are_for_agreeing_and_an_open_pair_punishes_nobody() -> None:
    agreed = pair(yes=3)
    assert score_vote(Vote(pair=agreed, yes=True)) == 10
    assert score_vote(Vote(pair=agreed, yes=False)) == 0
    assert score_vote(Vote(pair=pair(), yes=True)) == score_vote(Vote(pair=pair(), yes=False)) == 5


PAIRS_DRAWN = st.lists(
    st.builds(
        Pair,
        relation=st.sampled_from(Relation),
        base_word=st.sampled_from(["seafood", "bird"]),
        answer=st.text("abcdef", min_size=1, max_size=2),
        likely=st.floats(0, 1),
        yes=st.integers(0, 9),
        no=st.integers(0, 9),
    ),
    max_size=80,
)


@given(PAIRS_DRAWN, st.integers(0, 2**32))
def test_pairs_are_different_unseen_and_as_many_as_there_are(candidates, seed) -> None:
    keys = [(p.relation, p.base_word, p.answer) for p in candidates]
    seen = set(keys[::3])
    chosen = choose_next_pairs(candidates, draw=Random(seed), seen=seen)
    taken = [(p.relation, p.base_word, p.answer) for p in chosen]
    assert len(set(taken)) == len(taken) == min(PAIRS_PER_SESSION, len(set(keys) - seen))
    assert not seen & set(taken)
    assert chosen == choose_next_pairs(candidates, draw=Random(seed), seen=seen)


def test_likely_and_unlikely_are_even_and_open_ones_come_more_often() -> None:
    sure = [pair(f"sure {n}", likely=0.99) for n in range(100)]
    open_ = [pair(f"open {n}", likely=0.6) for n in range(100)]
    no = [pair(f"no {n}", likely=0.05) for n in range(300)]
    draw = Random(3)
    counts = {"sure": 0, "open": 0, "no": 0}
    for _ in range(20):
        for chosen in choose_next_pairs(sure + open_ + no, draw=draw):
            counts[chosen.answer.split()[0]] += 1
    assert counts["no"] == 20 * 12
    assert counts["open"] > 2 * counts["sure"] > 0


NOW = datetime(2030, 1, 31, tzinfo=UTC)


def player(name: str, rounds: int, points: int, days: float = 0) -> PlayerTotals:
    return PlayerTotals(
        player=name, rounds=rounds, points=points, last_played=NOW - timedelta(days=days)
    )


def test_boards() -> None:
    people = [
        player("steady", 10, 1000),
        player("few", 9, 9000),
        player("gone", 50, 50_000, days=31),
        player("equal", 20, 2000, days=30),
        player("poor", 10, 10),
        player("never", 0, 0),
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


def test_hardest_words_are_known_and_still_asked() -> None:
    words = [
        WordStats(word="hard", rounds=10, points=100),
        WordStats(word="easy", rounds=10, points=4000),
        WordStats(word="unknown", rounds=1, points=0),
        WordStats(word="retired", rounds=10, skips=90, points=0),
    ]
    assert [word.word for word in find_hardest_words(words)] == ["hard", "easy"]
    assert [word.word for word in find_hardest_words(words, count=1)] == ["hard"]
