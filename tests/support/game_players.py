"""Rounds and votes of made-up players, without a database."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.game.plays import AnswerRow, RoundRow, VoteRow
from idiolect.game.rules.answers import stem

FIRST_TIME = 1_700_000_000.0


def make_round(
    player: str,
    base_word: str,
    answers: str,
    *,
    relation: str = "meronyms",
    at: float = 0.0,
    name: str = "",
) -> RoundRow:
    """Makes a finished round; ``answers`` is a comma-separated list."""
    texts = [text.strip() for text in answers.split(",") if text.strip()]
    return RoundRow(
        id=name or f"{player}-{base_word}-{at:.0f}",
        player=player,
        relation=relation,
        base_word=base_word,
        finished=FIRST_TIME + at,
        answers=tuple(AnswerRow(text=text, stem=stem(text)) for text in texts),
    )


def make_vote(player: str, base_word: str, answer: str, yes: bool, *, at: float = 0.0) -> VoteRow:
    """Makes a vote on a pair of the relation "meronyms"."""
    return VoteRow(
        player=player,
        relation="meronyms",
        base_word=base_word,
        answer=answer,
        stem=stem(answer),
        yes=yes,
        given=FIRST_TIME + at,
    )


def make_seafood_rounds() -> Sequence[RoundRow]:
    """Makes 60 players' rounds on kinds of seafood, with the published counts of the first game."""
    counts = {
        "fish": 54,
        "shrimp": 53,
        "lobster": 38,
        "crab": 36,
        "clams": 24,
        "salmon": 17,
        "oysters": 12,
        "scallops": 12,
        "shellfish": 10,
        "mussels": 10,
    }
    # Player n gives all answers that more than n players gave.
    return [
        make_round(
            f"p{n:02}",
            "seafood",
            ",".join(word for word, count in counts.items() if n < count),
            relation="hyponyms",
        )
        for n in range(60)
    ]
