"""Word difficulty, player skill, retirement, and the choice of the next word."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import MissingError
from idiolect.game.rules.choice import (
    LITTLE_PLAYED_BELOW,
    PlayedRound,
    WordStats,
    choose_next_word,
    estimate_difficulty,
    estimate_skill,
    is_little_played,
    is_retired,
)

STATS = st.builds(
    WordStats,
    word=st.text("abc", min_size=1, max_size=4),
    rounds=st.integers(0, 200),
    skips=st.integers(0, 200),
    points=st.integers(0, 100_000),
    prior=st.floats(0.01, 0.99),
    concrete=st.booleans(),
)


@given(STATS)
def test_estimate_difficulty_decreases_with_points(word: WordStats) -> None:
    assert 0 < estimate_difficulty(word) < 1
    easier = WordStats(
        word=word.word, rounds=word.rounds, points=word.points + 100, prior=word.prior
    )
    assert estimate_difficulty(easier) < estimate_difficulty(word)


def test_estimate_difficulty_starts_at_prior_and_follows_rounds() -> None:
    assert estimate_difficulty(WordStats(word="w", prior=0.3)) == pytest.approx(0.3)
    often = WordStats(word="w", prior=0.3, rounds=1000, points=0)
    assert estimate_difficulty(often) > 0.95


def test_estimate_skill_starts_at_half_and_follows_points() -> None:
    assert estimate_skill([]) == 0.5
    good = [PlayedRound(points=300, difficulty=0.5)] * 20
    poor = [PlayedRound(points=20, difficulty=0.5)] * 20
    as_expected = [PlayedRound(points=150, difficulty=0.5)] * 20
    assert estimate_skill(good) > 0.6 > 0.5 > 0.4 > estimate_skill(poor)
    assert estimate_skill(as_expected) == pytest.approx(0.5)
    assert estimate_skill(poor + good) > estimate_skill(good + poor)
    hard = [PlayedRound(points=150, difficulty=0.8)] * 20
    assert estimate_skill(hard) > 0.6


@given(STATS)
def test_is_retired_needs_five_skips_and_minimum_share(word: WordStats) -> None:
    if is_retired(word):
        assert word.skips >= 5 and word.skips > (word.rounds + word.skips) / 3
    if word.skips >= 5 and word.skips > word.rounds:
        assert is_retired(word)


def test_is_retired_is_stricter_for_abstract_words() -> None:
    skipped = {"rounds": 11, "skips": 9}
    assert not is_retired(WordStats(word="w", concrete=True, **skipped))
    assert is_retired(WordStats(word="w", concrete=False, **skipped))
    assert not is_retired(WordStats(word="w", skips=4))
    assert is_retired(WordStats(word="w", skips=5))


@given(st.lists(STATS, max_size=20), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_choose_next_word_skips_retired_words_and_prefers_unseen_ones(words, level, seed):
    alive = {word.word for word in words if not is_retired(word)}
    seen = set(list(alive)[::2])
    if not alive:
        with pytest.raises(MissingError, match="no word is left"):
            choose_next_word(words, skill=level, seen=seen, draw=Random(seed))
        return
    chosen = choose_next_word(words, skill=level, seen=seen, draw=Random(seed))
    assert not is_retired(chosen)
    assert chosen.word not in seen or alive == seen
    assert chosen == choose_next_word(words, skill=level, seen=seen, draw=Random(seed))


def test_choose_next_word_prefers_started_words_to_new_ones() -> None:
    new = [WordStats(word=f"new {n}") for n in range(200)]
    started = [WordStats(word=f"started {n}", rounds=2, points=300) for n in range(5)]
    played = [WordStats(word=f"played {n}", rounds=9, points=1350) for n in range(50)]
    draw = Random(7)
    drawn = [
        choose_next_word(new + started + played, skill=0.5, seen=(), draw=draw).word.split()[0]
        for _ in range(300)
    ]
    assert drawn.count("started") > drawn.count("played") > drawn.count("new") > 0


def test_is_little_played_compares_rounds_with_threshold() -> None:
    assert is_little_played(0) and is_little_played(LITTLE_PLAYED_BELOW - 1)
    assert not is_little_played(LITTLE_PLAYED_BELOW)
