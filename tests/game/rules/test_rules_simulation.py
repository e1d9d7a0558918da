"""A simulation of thousands of rounds: word choice adapts to players' skills and skips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from statistics import fmean

import pytest

from idiolect.game.rules.choice import (
    TYPICAL_POINTS,
    PlayedRound,
    WordStats,
    choose_next_word,
    estimate_difficulty,
    estimate_skill,
    is_retired,
)

WORDS, ROUNDS = 150, 150
STRENGTHS = {"weak": 0.35, "middling": 0.5, "strong": 0.65}
"""True skills of the simulated players, which the rules have to estimate."""


class World:
    """Words with hidden true difficulties, and players who play them."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        names = [f"word {n}" for n in range(WORDS)]
        self.truth = {name: self.draw.uniform(0.2, 0.8) for name in names}
        self.bad = set(self.draw.sample(names, 15))
        self.stats = {name: WordStats(word=name) for name in names}
        self.asked_retired = 0

    def play(self, strength: float) -> Iterator[tuple[WordStats, float, PlayedRound | None]]:
        """Simulate one player; yields each word, the skill estimate it was chosen for, and the
        round (``None`` if the player skipped the word)."""
        history: list[PlayedRound] = []
        seen: set[str] = set()
        for _ in range(ROUNDS):
            level = estimate_skill(history)
            word = choose_next_word(self.stats.values(), skill=level, seen=seen, draw=self.draw)
            self.asked_retired += is_retired(word)
            seen.add(word.word)
            # Players skip most of the bad words.
            if word.word in self.bad and self.draw.random() < 0.9:
                self.stats[word.word] = replace(word, skips=word.skips + 1)
                yield word, level, None
                continue
            # The model of rules.choice, with noise.
            hard = self.truth[word.word]
            expected = TYPICAL_POINTS * strength / (1 - strength) * (1 - hard) / hard
            points = round(expected * self.draw.uniform(0.3, 1.7))
            history.append(PlayedRound(points=points, difficulty=estimate_difficulty(word)))
            changed = replace(word, rounds=word.rounds + 1, points=word.points + points)
            self.stats[word.word] = changed
            yield word, level, history[-1]


@pytest.fixture(scope="module")
def simulation() -> tuple[
    World, dict[str, list[list[tuple[WordStats, float, PlayedRound | None]]]]
]:
    world = World(11)
    rounds = {kind: [] for kind in STRENGTHS}
    for _ in range(8):
        for kind, strength in STRENGTHS.items():
            rounds[kind].append(list(world.play(strength)))
    return world, rounds


def test_choose_next_word_never_returns_words_that_players_skip(simulation) -> None:
    world, _ = simulation
    retired = {name for name, word in world.stats.items() if is_retired(word)}
    assert world.asked_retired == 0
    assert retired == world.bad
    # Retired words are not asked again, so the number of skips stays low.
    assert all(world.stats[name].skips <= 6 for name in retired)


def test_estimate_difficulty_recovers_true_order(simulation) -> None:
    world, _ = simulation
    kept = [name for name in world.truth if name not in world.bad]
    easy, hard = (
        fmean(estimate_difficulty(world.stats[name]) for name in group)
        for group in (
            [name for name in kept if world.truth[name] < 0.4],
            [name for name in kept if world.truth[name] > 0.6],
        )
    )
    assert hard > easy + 0.15


def test_estimate_skill_recovers_true_order_and_words_follow(simulation) -> None:
    _, rounds = simulation
    # Only later players, since the first ones play before word difficulties are known; and only the
    # first half of their rounds, since after that nearly every word has been asked.
    late = {
        kind: [step for history in histories[3:] for step in history[20:70]]
        for kind, histories in rounds.items()
    }
    found = {kind: fmean(level for _, level, _ in steps) for kind, steps in late.items()}
    asked = {
        kind: fmean(estimate_difficulty(word) for word, *_ in steps) for kind, steps in late.items()
    }
    assert found["weak"] + 0.05 < found["middling"] < found["strong"] - 0.05
    assert asked["weak"] + 0.03 < asked["middling"] < asked["strong"] - 0.03


def test_choose_next_word_repeats_no_word_while_others_remain(simulation) -> None:
    _, rounds = simulation
    for history in (h for histories in rounds.values() for h in histories):
        names = [word.word for word, *_ in history]
        first = names[: WORDS - 15]
        assert len(set(first)) == len(first)
