"""Choice of the next base word: word difficulty, player skill, and retired words.

Works on sums over rounds, not on single rounds. Difficulty and skill share one scale from 0 to 1;
0.5 is a typical word and a new player. A player of skill k is expected to score
``TYPICAL_POINTS x k/(1-k) x (1-d)/d`` points on a word of difficulty d. So a player scores the
typical points on a word whose difficulty equals the player's skill.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from idiolect.errors import MissingError

TYPICAL_POINTS = 150.0
"""Points of a typical round: three answers, each either listed by WordNet or given by half of the
other players."""

LITTLE_PLAYED_BELOW = 5
"""A word with fewer players is "little played": the share of players who agree then comes in steps
of a quarter or more, and agreement is mostly luck."""

DIFFICULTY_WIDTH = 0.1
"""Standard deviation of the difference between a chosen word's difficulty and the skill."""

_PRIOR_ROUNDS = 4.0
"""Weight of the prior of a word or player, in rounds."""
_ROUND_DECAY = 0.95
"""Weight of a player's round relative to the next one, so that about the last 20 rounds count."""
_MIN_SKIPS = 5
_STARTED_WEIGHT, _PLAYED_WEIGHT, _NEW_WEIGHT = 3.0, 2.0, 1.0
"""Sampling weights of words with few players, with many players, and with none."""


@dataclass(frozen=True, kw_only=True)
class WordStats:
    """A base word of one relation, with sums over the rounds of all players."""

    word: str
    rounds: int = 0
    """Number of players who have finished a round on it."""
    skips: int = 0
    """Number of players who skipped it."""
    points: int = 0
    """Sum of the points of those rounds, without the bonus for little-played words."""
    prior: float = 0.5
    """Difficulty in (0, 1) before any round (`WordTable.get_difficulty_prior`)."""
    concrete: bool = True
    """Whether it names something that can be touched (`WordTable.is_concrete`)."""


@dataclass(frozen=True, kw_only=True)
class PlayedRound:
    """A finished round of the player: its points without the round bonus, and the difficulty that
    the word had when it was asked."""

    points: int
    difficulty: float


def is_little_played(rounds: int) -> bool:
    """Whether a word that ``rounds`` other players have finished earns the round bonus."""
    return rounds < LITTLE_PLAYED_BELOW


def estimate_difficulty(word: WordStats) -> float:
    """The word's difficulty in (0, 1): the fewer points its rounds gave, the harder.

    The mean points are shrunk toward those that the prior difficulty predicts, which count as
    `_PRIOR_ROUNDS` rounds.
    """
    expected = TYPICAL_POINTS * (1 - word.prior) / word.prior
    mean = (word.points + _PRIOR_ROUNDS * expected) / (word.rounds + _PRIOR_ROUNDS)
    return TYPICAL_POINTS / (TYPICAL_POINTS + mean)


def estimate_skill(history: Sequence[PlayedRound]) -> float:
    """The player's skill in (0, 1): points scored against points expected of an average player.

    ``history`` is oldest first; recent rounds weigh more. Returns 0.5 for an empty history.
    """
    # The prior: a few typical rounds.
    made = expected = _PRIOR_ROUNDS * TYPICAL_POINTS
    weight = 1.0
    for round_ in reversed(history):
        made += weight * round_.points
        expected += weight * TYPICAL_POINTS * (1 - round_.difficulty) / round_.difficulty
        weight *= _ROUND_DECAY
    return made / (made + expected)


def is_retired(word: WordStats) -> bool:
    """Whether players have skipped the word so often that it is no longer asked.

    True after at least five skips, if more than half of the players who were asked skipped it.
    For abstract words a third is enough: players skip them because they are vague, whereas they
    skip concrete words also because they do not know them.
    """
    max_share = 1 / 2 if word.concrete else 1 / 3
    return word.skips >= _MIN_SKIPS and word.skips > max_share * (word.rounds + word.skips)


def choose_next_word(
    candidates: Iterable[WordStats], *, skill: float, seen: Collection[str], draw: Random
) -> WordStats:
    """Draw a word that is not retired, near the player's skill, and unseen if any is left unseen.

    Words with few players are drawn most often and words without players least often, because
    agreement needs several players on one word. Raises MissingError if no word is left.
    """
    alive = [word for word in candidates if not is_retired(word)]
    # Repeat seen words only if no unseen word is left.
    fresh = [word for word in alive if word.word not in seen]
    pool = fresh or alive
    if not pool:
        raise MissingError(
            "no word is left to ask: the relation has no words, or all of them are retired; "
            "choose another relation"
        )
    # A Gaussian around the player's skill.
    near = [
        math.exp(-(((estimate_difficulty(word) - skill) / DIFFICULTY_WIDTH) ** 2) / 2)
        for word in pool
    ]
    groups = [_choose_group_weight(word.rounds) for word in pool]
    # Normalize by each group's mass, so that a group's share does not grow with its size: most
    # words are new, and few have been started.
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
        # All weights underflowed to zero: take the closest word.
        return min(pool, key=lambda word: abs(estimate_difficulty(word) - skill))
    return draw.choices(pool, weights=weights)[0]


def _choose_group_weight(rounds: int) -> float:
    if not rounds:
        return _NEW_WEIGHT
    return _STARTED_WEIGHT if is_little_played(rounds) else _PLAYED_WEIGHT
