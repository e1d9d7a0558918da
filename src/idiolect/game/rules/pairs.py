"""Nym or Not: 25 pairs in 20 seconds, is this a kind of that, yes or no; points for agreeing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from random import Random

from idiolect.game.rules.relations import Relation

PAIRS_PER_SESSION = 25
SESSION_SECONDS = 20
MAJORITY_POINTS = 10
"""For agreeing with the majority."""
OPEN_POINTS = 5
"""For a vote on a pair that nothing is known about: as much as guessing is worth elsewhere."""

_MIN_VOTES = 3
"""As few players may not decide about an answer; what is known beforehand does until then."""
_SURE_PROBABILITY = 0.9


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A base word and an answer, and what is known about whether they are related."""

    relation: Relation
    base_word: str
    answer: str
    likely: float = 0.5
    """Probability that it holds: WordNet's word (near 0 or 1), a classifier's, or 0.5."""
    yes: int = 0
    no: int = 0
    """Votes by other players, one a player."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What a player said about a pair."""

    pair: Pair
    yes: bool


def find_majority(pair: Pair) -> bool | None:
    """What most of the others say; with too few or equal votes what is known; None: open."""
    if pair.yes + pair.no >= _MIN_VOTES and pair.yes != pair.no:
        return pair.yes > pair.no
    if pair.likely >= _SURE_PROBABILITY:
        return True
    return False if pair.likely <= 1 - _SURE_PROBABILITY else None


def score_vote(vote: Vote) -> int:
    """Points of one vote."""
    decided = find_majority(vote.pair)
    if decided is None:
        return OPEN_POINTS
    return MAJORITY_POINTS if decided == vote.yes else 0


def choose_next_pairs(
    candidates: Iterable[Pair],
    *,
    draw: Random,
    seen: Collection[tuple[Relation, str, str]] = (),
    count: int = PAIRS_PER_SESSION,
) -> tuple[Pair, ...]:
    """At most ``count`` different pairs for one game, shuffled, none in ``seen``.

    Half of them likely and half unlikely, as far as there are such, so that neither "yes" nor "no"
    throughout pays; what votes and predictions leave open comes more often.
    """
    fresh = {
        (pair.relation, pair.base_word, pair.answer): pair
        for pair in candidates
        if (pair.relation, pair.base_word, pair.answer) not in seen
    }
    # Weighted sampling without replacement (Efraimidis and Spirakis 2006): the largest keys.
    keyed = [(draw.random() ** (1 / _estimate_vote_value(pair)), pair) for pair in fresh.values()]
    ranked = [pair for _, pair in sorted(keyed, key=lambda item: item[0], reverse=True)]
    likely = [pair for pair in ranked if _estimate_probability(pair) >= 0.5]
    unlikely = [pair for pair in ranked if _estimate_probability(pair) < 0.5]
    half = count // 2
    many_yes = min(len(likely), max(count - half, count - len(unlikely)))
    many_no = min(len(unlikely), count - many_yes)
    chosen = likely[:many_yes] + unlikely[:many_no]
    draw.shuffle(chosen)
    return tuple(chosen)


def _estimate_probability(pair: Pair) -> float:
    """Probability that the pair holds after its votes; what was known before weighs two votes."""
    return (pair.yes + 2 * pair.likely) / (pair.yes + pair.no + 2)


def _estimate_vote_value(pair: Pair) -> float:
    """What a vote on it is worth: most where there are few and they disagree. Never nothing, so
    that what is well known comes in between."""
    belief, known = _estimate_probability(pair), pair.yes + pair.no
    return 0.2 + 4 * belief * (1 - belief) * _MIN_VOTES / (_MIN_VOTES + known)
