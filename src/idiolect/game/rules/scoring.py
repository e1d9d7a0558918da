"""What a round is worth and why; knows what others gave, not who they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from idiolect.game.rules.answers import filter_accepted, stem
from idiolect.game.rules.relations import Relation

LISTED_BONUS = 50
"""For an answer that WordNet lists for this relation."""

ROUND_BONUS = 40
"""For a round on a word that few have played, where hardly anybody can agree yet."""


@dataclass(frozen=True, kw_only=True)
class PriorAnswers:
    """What others gave for a base word and relation: one round a player, never one's own."""

    rounds: int = 0
    given: Mapping[str, int] = field(default_factory=dict[str, int])
    """In how many of these rounds each stem was given."""


@dataclass(frozen=True, kw_only=True)
class WordScore:
    """One answer's points, and the sentence that explains them."""

    answer: str
    stem: str
    share: float
    """Of the earlier rounds by others, from 0 to 1, which gave the same stem."""
    agreement: int
    bonus: int
    total: int
    why: str


@dataclass(frozen=True, kw_only=True)
class RoundScore:
    """A round's points, answer by answer in the order given."""

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
    """The points of what a player typed; ``listed`` are the stems that WordNet has for the pair.

    Takes the raw answers, and counts only those that `accepted` lets through, so that no caller
    can score the base word. The bonus of a little-played word needs one answer that counts.
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
    given = min(earlier.given.get(key, 0), earlier.rounds)
    # Whole numbers, halves up: 100 x share without the surprises of floats.
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
    if not rounds:
        agreed = "Nobody has played this word before you."
    elif not given:
        others = "other player" if rounds == 1 else "other players"
        agreed = f"None of {rounds} {others} gave it."
    else:
        others = "other player" if rounds == 1 else "other players"
        agreed = f"{given} of {rounds} {others} gave it too."
    if not bonus:
        return agreed
    return f"{agreed} WordNet lists it as {_RELATION_PHRASES[relation]} {base_word}."
