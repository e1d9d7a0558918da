"""Scoring of a round: points per answer, and a sentence that explains them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from idiolect.game.rules.answers import filter_accepted, stem
from idiolect.game.rules.relations import Relation

LISTED_BONUS = 50
"""Bonus points for an answer that WordNet lists for this relation."""

ROUND_BONUS = 40
"""Bonus points for a round on a little-played word, because few players can agree on it yet."""


@dataclass(frozen=True, kw_only=True)
class PriorAnswers:
    """Answers by other players for a base word and relation, one round per player."""

    rounds: int = 0
    given: Mapping[str, int] = field(default_factory=dict[str, int])
    """For each stem, the number of these rounds in which it was given."""


@dataclass(frozen=True, kw_only=True)
class WordScore:
    """The points of one answer, and the sentence that explains them."""

    answer: str
    stem: str
    share: float
    """Share of the other players' earlier rounds, from 0 to 1, that gave the same stem."""
    agreement: int
    bonus: int
    total: int
    why: str


@dataclass(frozen=True, kw_only=True)
class RoundScore:
    """The points of a round; ``words`` is in the order of the answers."""

    words: tuple[WordScore, ...]
    round_bonus: int
    total: int


def score_round(
    relation: Relation,
    base_word: str,
    answers: Iterable[str],
    *,
    earlier: PriorAnswers,
    listed: Collection[str],
    little_played: bool,
) -> RoundScore:
    """Score the answers that a player typed.

    ``listed`` holds the stems that WordNet lists for the base word. Takes the raw answers and
    applies `filter_accepted` itself, so that no caller can score the base word. The bonus of a
    little-played word needs at least one answer that counts.
    """
    words = tuple(
        _score_word(relation, base_word, answer, earlier=earlier, listed=listed)
        for answer in filter_accepted(base_word, answers)
    )
    bonus = ROUND_BONUS if little_played and words else 0
    return RoundScore(
        words=words, round_bonus=bonus, total=sum(word.total for word in words) + bonus
    )


def _score_word(
    relation: Relation,
    base_word: str,
    answer: str,
    *,
    earlier: PriorAnswers,
    listed: Collection[str],
) -> WordScore:
    key = stem(answer)
    # Cap the count, so that inconsistent data cannot give a share above 1.
    given = min(earlier.given.get(key, 0), earlier.rounds)
    # round(100 x share) in integer arithmetic, with halves rounded up.
    agreement = (200 * given + earlier.rounds) // (2 * earlier.rounds) if earlier.rounds else 0
    bonus = LISTED_BONUS if key in listed else 0
    return WordScore(
        answer=answer,
        stem=key,
        share=given / earlier.rounds if earlier.rounds else 0.0,
        agreement=agreement,
        bonus=bonus,
        total=agreement + bonus,
        why=_explain_score(relation, base_word, given, earlier.rounds, bonus),
    )


_RELATION_PHRASES = {
    Relation.SYNONYMS: "another word for",
    Relation.ANTONYMS: "an opposite of",
    Relation.HYPONYMS: "a kind of",
    Relation.MERONYMS: "a part of",
}


def _explain_score(relation: Relation, base_word: str, given: int, rounds: int, bonus: int) -> str:
    # First the agreement with other players, then the bonus.
    if not rounds:
        agreed = "No other player has played this word yet."
    elif not given:
        others = "other player" if rounds == 1 else "other players"
        agreed = f"None of {rounds} {others} gave it."
    else:
        others = "other player" if rounds == 1 else "other players"
        agreed = f"{given} of {rounds} {others} gave it too."
    if not bonus:
        return agreed
    return f"{agreed} WordNet lists it as {_RELATION_PHRASES[relation]} {base_word}."
