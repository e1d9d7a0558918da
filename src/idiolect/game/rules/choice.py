"""Which word comes next: how hard words are, how good a player is, what is no longer asked.

Knows sums over rounds, not the rounds. Difficulty and skill lie on one scale from 0 to 1, with 0.5
for a typical word and for a newcomer: who has skill k is expected to score
``TYPICAL x k/(1-k) x (1-d)/d`` points on a word of difficulty d, so that skill equals difficulty
where a round is worth the typical points.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from idiolect.errors import MissingError

TYPICAL_POINTS = 150.0
"""Points of a typical round: three answers that WordNet lists, or that half of the others gave."""

LITTLE_PLAYED_BELOW = 5
"""Below so many players, shares come in steps of a quarter and more, and agreeing is luck."""

DIFFICULTY_WIDTH = 0.1
"""How far a word's difficulty typically lies from the player's skill."""

_PRIOR_ROUNDS = 4.0
"""Rounds that what is known beforehand weighs, of a word or of a player."""
_ROUND_DECAY = 0.95
"""What a player's earlier round weighs against the next one: about the last 20 count."""
_MIN_SKIPS = 5
_STARTED_WEIGHT, _PLAYED_WEIGHT, _NEW_WEIGHT = 3.0, 2.0, 1.0
"""How often words come that few have begun, that many have played, that nobody has."""


@dataclass(frozen=True, kw_only=True)
class WordStats:
    """A base word of one relation, and what is known of it from everybody's rounds."""

    word: str
    rounds: int = 0
    """Players who have finished a round on it."""
    skips: int = 0
    """Players who skipped it."""
    points: int = 0
    """Sum of the points of those rounds, without the bonus for little-played words."""
    prior: float = 0.5
    """Difficulty as far as the words alone tell (`idiolect.game.words`), in (0, 1)."""
    concrete: bool = True
    """Whether it names something that can be touched (`idiolect.game.words`)."""


@dataclass(frozen=True, kw_only=True)
class PlayedRound:
    """A finished round of the player: its points without the round's bonus, the word's difficulty
    when it was asked."""

    points: int
    difficulty: float


def is_little_played(rounds: int) -> bool:
    """Whether a word that ``rounds`` other players have finished earns the round's bonus."""
    return rounds < LITTLE_PLAYED_BELOW


def estimate_difficulty(word: WordStats) -> float:
    """From 0 to 1: how few points the word gave, starting from what was expected of it."""
    expected = TYPICAL_POINTS * (1 - word.prior) / word.prior
    mean = (word.points + _PRIOR_ROUNDS * expected) / (word.rounds + _PRIOR_ROUNDS)
    return TYPICAL_POINTS / (TYPICAL_POINTS + mean)


def estimate_skill(history: Sequence[PlayedRound]) -> float:
    """From 0 to 1: the points a player made against those expected; ``history`` oldest first."""
    made = expected = _PRIOR_ROUNDS * TYPICAL_POINTS
    weight = 1.0
    for round_ in reversed(history):
        made += weight * round_.points
        expected += weight * TYPICAL_POINTS * (1 - round_.difficulty) / round_.difficulty
        weight *= _ROUND_DECAY
    return made / (made + expected)


def is_retired(word: WordStats) -> bool:
    """Whether players have skipped the word so often that it is no longer asked.

    At least five skips, and more than half of those who were asked; of abstract words more than a
    third, because they are skipped for being vague, and concrete ones also for being unknown.
    """
    bearable = 1 / 2 if word.concrete else 1 / 3
    return word.skips >= _MIN_SKIPS and word.skips > bearable * (word.rounds + word.skips)


def choose_next_word(
    candidates: Iterable[WordStats], *, skill: float, seen: Collection[str], draw: Random
) -> WordStats:
    """A word that is not retired, about as hard as the player is good, new to them if there is one.

    Words that few players have begun come more often than others, and those more often than words
    that nobody has played: agreement needs several players on one word.
    Raises MissingError where no word is left.
    """
    alive = [word for word in candidates if not is_retired(word)]
    fresh = [word for word in alive if word.word not in seen]
    pool = fresh or alive
    if not pool:
        raise MissingError(
            "no word is left to ask: all are retired or there are none; choose another relation"
        )
    near = [
        math.exp(-(((estimate_difficulty(word) - skill) / DIFFICULTY_WIDTH) ** 2) / 2)
        for word in pool
    ]
    groups = [_choose_group_weight(word.rounds) for word in pool]
    # A group's frequency does not grow with its size: new words are many, begun ones few.
    closest: dict[float, float] = {}
    mass: dict[float, float] = {}
    for n, group in zip(near, groups, strict=True):
        closest[group] = max(closest.get(group, 0.0), n)
        mass[group] = mass.get(group, 0.0) + n
    weights = [
        n * (closest[group] / mass[group] if mass[group] else 0.0) * group
        for n, group in zip(near, groups, strict=True)
    ]
    if not sum(weights):
        # All are too far away for floats: the closest one.
        return min(pool, key=lambda word: abs(estimate_difficulty(word) - skill))
    return draw.choices(pool, weights=weights)[0]


def _choose_group_weight(rounds: int) -> float:
    if not rounds:
        return _NEW_WEIGHT
    return _STARTED_WEIGHT if is_little_played(rounds) else _PLAYED_WEIGHT
