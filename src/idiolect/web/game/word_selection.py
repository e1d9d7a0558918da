"""Which word a player gets: gathers what the rules ask for; what is chosen is theirs to say."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db.models import BigIntegerField, CharField

from idiolect.game import words
from idiolect.game.rules.choice import Played, WordStats, difficulty, next_word, skill
from idiolect.game.rules.relations import Relation
from idiolect.web.game.models import Round, State, Word
from idiolect.web.prepared_queries import Prepared, Slot

BEGUN = 150
"""Words that were played before, among which the rules choose; all of thousands would take a
server longer than scoring a round."""
NEW = 150
"""Words that nobody has played yet, likewise."""
FRESH = 5.0
"""Seconds for which a process knows sums over words, which grow with the site: that a word was
played a moment ago hardly changes who should get it."""
REMEMBERED = 60
"""Rounds that say how good a player is; earlier ones hardly weigh (`rules.skill`)."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A base word to ask, and how hard it was held to be."""

    word: Word
    """Not in the database yet where nobody was asked it before."""
    difficulty: float


def choose(player: Any, relations: Collection[Relation], *, draw: Random) -> Chosen:
    """A word of one of the relations. Raises MissingError where none is left."""
    relation = draw.choice(sorted(relations))
    begun = _begun(relation)
    found = next_word(
        _candidates(relation, begun, draw),
        skill=skill(_history(player)),
        seen=_seen(player, relation),
        draw=draw,
    )
    return Chosen(
        word=Word(pk=begun.ids.get(found.word), relation=relation.value, base=found.word),
        difficulty=difficulty(found),
    )


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """The words of a relation that somebody was asked, as they were a moment ago."""

    read: float
    stats: tuple[WordStats, ...]
    """Of those that the table asks; one that a newer table no longer does stays in the database,
    for its rounds."""
    ids: dict[str, int]


_kept: dict[Relation, _Begun] = {}


def _begun(relation: Relation) -> _Begun:
    found = _kept.get(relation)
    if found is None or time.monotonic() - found.read >= FRESH:
        found = _kept[relation] = _read(relation)
    return found


def _read(relation: Relation) -> _Begun:
    read = time.monotonic()
    asked = frozenset(words.table().base_words(relation))
    rows = [
        row
        for row in Word.objects.filter(relation=relation.value)
        .order_by("base")
        .values_list("base", "rounds", "skips", "points", "pk")
        if row[0] in asked
    ]
    return _Begun(
        read=read,
        stats=tuple(stats(relation, *row[:4]) for row in rows),
        ids={row[0]: row[4] for row in rows},
    )


def _candidates(relation: Relation, begun: _Begun, draw: Random) -> list[WordStats]:
    bases = words.table().base_words(relation)
    drawn = draw.sample(bases, min(len(bases), BEGUN + NEW))
    new = [base for base in drawn if base not in begun.ids][:NEW]
    few = draw.sample(begun.stats, min(len(begun.stats), BEGUN))
    return few + [stats(relation, base, 0, 0, 0) for base in new]


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
    last = reversed(_LAST(player=player.pk))
    return [Played(points=score - bonus, difficulty=hard) for score, bonus, hard in last]


def _seen(player: Any, relation: Relation) -> set[str]:
    return set(_ASKED(player=player.pk, relation=relation.value))


# Every round asks these: they are compiled once (`prepared`).
_PLAYER = Slot("player", BigIntegerField())
_LAST = Prepared(
    lambda: (
        Round.objects.filter(player=_PLAYER, state=State.FINISHED, untimed=False)
        .order_by("-started_at")
        .values_list("score", "bonus", "difficulty")[:REMEMBERED]
    )
)
_ASKED = Prepared(
    lambda: Round.objects.filter(
        player=_PLAYER, word__relation=Slot("relation", CharField())
    ).values_list("word__base", flat=True)
)
