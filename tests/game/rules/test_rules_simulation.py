"""Thousands of simulated rounds: the choice of words follows who plays and what they skip."""

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
"""Players' true skills; the rules have to find them out."""


class World:
    """Words with a true difficulty that nobody knows, and players who play them."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        names = [f"word {n}" for n in range(WORDS)]
        self.truth = {name: self.draw.uniform(0.2, 0.8) for name in names}
        self.bad = set(self.draw.sample(names, 15))
        self.stats = {name: WordStats(word=name) for name in names}
        self.asked_retired = 0

    def play(self, strength: float) -> Iterator[tuple[WordStats, float, PlayedRound | None]]:
        """One player's rounds: the word, the skill it was chosen for, and what came of it."""
        history: list[PlayedRound] = []
        seen: set[str] = set()
        for _ in range(ROUNDS):
            level = estimate_skill(history)
            word = choose_next_word(self.stats.values(), skill=level, seen=seen, draw=self.draw)
            self.asked_retired += is_retired(word)
            seen.add(word.word)
            if word.word in self.bad and self.draw.random() < 0.9:
                self.stats[word.word] = replace(word, skips=word.skips + 1)
                yield word, level, None
                continue
            hard = self.truth[word.word]
            expected = TYPICAL_POINTS * strength / (1 - strength) * (1 - hard) / hard
            points = round(expected * self.draw.uniform(0.3, 1.7))
            history.append(PlayedRound(points=points, difficulty=estimate_difficulty(word)))
            changed = replace(word, rounds=word.rounds + 1, points=word.points + points)
            self.stats[word.word] = changed
            yield word, level, history[-1]


@pytest.fixture(scope="module")
def played() -> tuple[World, dict[str, list[list[tuple[WordStats, float, PlayedRound | None]]]]]:
    world = World(11)
    rounds = {kind: [] for kind in STRENGTHS}
    for _ in range(8):
        for kind, strength in STRENGTHS.items():
            rounds[kind].append(list(world.play(strength)))
    return world, rounds


def test_what_players_skip_is_retired_and_never_comes_again(played) -> None:
    world, _ = played
    retired = {name for name, word in world.stats.items() if is_retired(word)}
    assert world.asked_retired == 0
    assert retired == world.bad
    # Once retired they are not asked: nobody skips them any more.
    assert all(world.stats[name].skips <= 6 for name in retired)


def test_difficulty_is_found_out(played) -> None:
    world, _ = played
    kept = [name for name in world.truth if name not in world.bad]
    easy, hard = (
        fmean(estimate_difficulty(world.stats[name]) for name in group)
        for group in (
            [name for name in kept if world.truth[name] < 0.4],
            [name for name in kept if world.truth[name] > 0.6],
        )
    )
    assert hard > easy + 0.15


def test_skill_is_found_out_and_words_follow_it(played) -> None:
    _, rounds = played
    # Later players, by whose time words are known, in the first half of their rounds: after that
    # nearly every word has been asked.
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


def test_nobody_gets_a_word_twice_while_there_are_others(played) -> None:
    _, rounds = played
    for history in (h for histories in rounds.values() for h in histories):
        names = [word.word for word, *_ in history]
        first = names[: WORDS - 15]
        assert len(set(first)) == len(first)
