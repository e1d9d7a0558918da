"""Which word a player gets: gathers what the rules ask for; what is chosen is theirs to say."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Any

from idiolect.game import words
from idiolect.game.models import Round, State, Word
from idiolect.game.rules import Played, Relation, WordStats, difficulty, next_word, skill

BEGUN = 150
"""Words that were played before, among which the rules choose; all of thousands would take a
server longer than scoring a round."""
NEW = 150
"""Words that nobody has played yet, likewise."""
REMEMBERED = 60
"""Rounds that say how good a player is; earlier ones hardly weigh (`rules.skill`)."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A base word to ask, and how hard it was held to be."""

    relation: Relation
    base: str
    difficulty: float


def choose(player: Any, relations: Collection[Relation], *, draw: Random) -> Chosen:
    """A word of one of the relations. Raises MissingError where none is left."""
    relation = draw.choice(sorted(relations))
    found = next_word(
        _candidates(relation, draw),
        skill=skill(_history(player)),
        seen=_seen(player, relation),
        draw=draw,
    )
    return Chosen(relation=relation, base=found.word, difficulty=difficulty(found))


def _candidates(relation: Relation, draw: Random) -> list[WordStats]:
    begun = {
        base: (rounds, skips, points)
        for base, rounds, skips, points in Word.objects.filter(relation=relation.value)
        .order_by("base")
        .values_list("base", "rounds", "skips", "points")
    }
    bases = words.table().base_words(relation)
    # A word that a newer table no longer asks stays in the database, for its rounds.
    asked = frozenset(bases)
    played = [base for base in begun if base in asked]
    new = [base for base in draw.sample(bases, min(len(bases), BEGUN + NEW)) if base not in begun]
    few = draw.sample(played, min(len(played), BEGUN)) + new[:NEW]
    return [stats(relation, base, *begun.get(base, (0, 0, 0))) for base in few]


def stats(relation: Relation, base: str, rounds: int, skips: int, points: int) -> WordStats:
    """What the rules want to know of a word: what is counted, and what the words alone tell."""
    table = words.table()
    return WordStats(
        word=base,
        rounds=rounds,
        skips=skips,
        points=points,
        prior=table.prior(relation, base),
        concrete=table.concrete(base),
    )


def _history(player: Any) -> list[Played]:
    """The player's last timed rounds, oldest first."""
    last = (
        Round.objects.filter(player=player, state=State.FINISHED, untimed=False)
        .order_by("-started_at")
        .values_list("score", "bonus", "difficulty")[:REMEMBERED]
    )
    return [Played(points=score - bonus, difficulty=hard) for score, bonus, hard in reversed(last)]


def _seen(player: Any, relation: Relation) -> set[str]:
    asked = Round.objects.filter(player=player, word__relation=relation.value)
    return set(asked.values_list("word__base", flat=True))
