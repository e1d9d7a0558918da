"""The rules of Nym or Not: players vote on 25 pairs in 20 seconds ("is an eagle a kind of bird?")
and score points for agreeing with the other players."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from random import Random

from idiolect.game.rules.relations import Relation

PAIRS_PER_SESSION = 25
SESSION_SECONDS = 20
MAJORITY_POINTS = 10
"""Points for agreeing with the majority."""
OPEN_POINTS = 5
"""Points for a vote on an undecided pair: the expected points of guessing on a decided one."""

_MIN_VOTES = 3
"""Votes that a majority needs; with fewer votes the prior probability decides."""
_SURE_PROBABILITY = 0.9
"""Prior probability from which a pair counts as decided without votes."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A base word and an answer, with the evidence on whether the relation holds."""

    relation: Relation
    base_word: str
    answer: str
    likely: float = 0.5
    """Prior probability that it holds: near 0 or 1 from WordNet, or the classifier's, or 0.5."""
    yes: int = 0
    no: int = 0
    """Votes by other players, one per player."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One player's vote on a pair."""

    pair: Pair
    yes: bool


def find_majority(pair: Pair) -> bool | None:
    """The verdict on a pair: that of the other players, or of the prior if there are too few votes
    or a tie. ``None`` if the prior does not decide either."""
    if pair.yes + pair.no >= _MIN_VOTES and pair.yes != pair.no:
        return pair.yes > pair.no
    if pair.likely >= _SURE_PROBABILITY:
        return True
    return False if pair.likely <= 1 - _SURE_PROBABILITY else None


def score_vote(vote: Vote) -> int:
    """The points of one vote."""
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
    """Draw at most ``count`` distinct pairs for one session, shuffled, none of them in ``seen``.

    Half of them are likely to hold and half unlikely, as far as candidates allow, so that always
    answering "yes" or always "no" does not pay. Undecided pairs are drawn more often.
    """
    # Drop duplicates, and pairs that the player has seen.
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
    # If one half has too few candidates, the other fills up.
    half = count // 2
    many_yes = min(len(likely), max(count - half, count - len(unlikely)))
    many_no = min(len(unlikely), count - many_yes)
    chosen = likely[:many_yes] + unlikely[:many_no]
    draw.shuffle(chosen)
    return tuple(chosen)


def _estimate_probability(pair: Pair) -> float:
    """Posterior probability that the pair holds; the prior weighs as much as two votes."""
    return (pair.yes + 2 * pair.likely) / (pair.yes + pair.no + 2)


def _estimate_vote_value(pair: Pair) -> float:
    """How much one more vote would tell: most for a pair with few votes that disagree.

    Never 0, so that well-known pairs are mixed in.
    """
    belief, known = _estimate_probability(pair), pair.yes + pair.no
    return 0.2 + 4 * belief * (1 - belief) * _MIN_VOTES / (_MIN_VOTES + known)
