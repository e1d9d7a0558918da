"""Which word a player gets: gathers what the rules ask for; what is chosen is theirs to say."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db.models import BigIntegerField, CharField

from idiolect.game import words
from idiolect.game.rules.choice import (
    PlayedRound,
    WordStats,
    choose_next_word,
    estimate_difficulty,
    estimate_skill,
)
from idiolect.game.rules.relations import Relation
from idiolect.web.game.models import Round, State, Word
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter

MAX_PLAYED_WORDS = 150
"""Words that were played before, among which the rules choose; all of thousands would take a
server longer than scoring a round."""
MAX_NEW_WORDS = 150
"""Words that nobody has played yet, likewise."""
CACHE_SECONDS = 5.0
"""Seconds for which a process knows sums over words, which grow with the site: that a word was
played a moment ago hardly changes who should get it."""
MAX_HISTORY_ROUNDS = 60
"""Rounds that say how good a player is; earlier ones hardly weigh (`rules.skill`)."""


@dataclass(frozen=True, kw_only=True)
class WordChoice:
    """A base word to ask, and how hard it was held to be."""

    word: Word
    """Not in the database yet where nobody was asked it before."""
    difficulty: float


def choose_word(player: Any, relations: Collection[Relation], *, draw: Random) -> WordChoice:
    """A word of one of the relations. Raises MissingError where none is left."""
    relation = draw.choice(sorted(relations))
    begun = _get_started_words(relation)
    found = choose_next_word(
        _gather_candidates(relation, begun, draw),
        skill=estimate_skill(_load_history(player)),
        seen=_find_seen_words(player, relation),
        draw=draw,
    )
    return WordChoice(
        word=Word(pk=begun.ids.get(found.word), relation=relation.value, base=found.word),
        difficulty=estimate_difficulty(found),
    )


@dataclass(frozen=True, kw_only=True)
class _StartedWord:
    """The words of a relation that somebody was asked, as they were a moment ago."""

    loaded_at: float
    stats: tuple[WordStats, ...]
    """Of those that the table asks; one that a newer table no longer does stays in the database,
    for its rounds."""
    ids: dict[str, int]


_cache: dict[Relation, _StartedWord] = {}


def _get_started_words(relation: Relation) -> _StartedWord:
    found = _cache.get(relation)
    if found is None or time.monotonic() - found.loaded_at >= CACHE_SECONDS:
        found = _cache[relation] = _read_started_words(relation)
    return found


def _read_started_words(relation: Relation) -> _StartedWord:
    read = time.monotonic()
    asked = frozenset(words.load_table().base_words(relation))
    rows = [
        row
        for row in Word.objects.filter(relation=relation.value)
        .order_by("base")
        .values_list("base", "rounds", "skips", "points", "pk")
        if row[0] in asked
    ]
    return _StartedWord(
        loaded_at=read,
        stats=tuple(make_word_stats(relation, *row[:4]) for row in rows),
        ids={row[0]: row[4] for row in rows},
    )


def _gather_candidates(relation: Relation, begun: _StartedWord, draw: Random) -> list[WordStats]:
    bases = words.load_table().base_words(relation)
    drawn = draw.sample(bases, min(len(bases), MAX_PLAYED_WORDS + MAX_NEW_WORDS))
    new = [base for base in drawn if base not in begun.ids][:MAX_NEW_WORDS]
    few = draw.sample(begun.stats, min(len(begun.stats), MAX_PLAYED_WORDS))
    return few + [make_word_stats(relation, base, 0, 0, 0) for base in new]


def make_word_stats(
    relation: Relation, base: str, rounds: int, skips: int, points: int
) -> WordStats:
    """What the rules want to know of a word: what is counted, and what the words alone tell."""
    table = words.load_table()
    return WordStats(
        word=base,
        rounds=rounds,
        skips=skips,
        points=points,
        prior=table.get_difficulty_prior(relation, base),
        concrete=table.is_concrete(base),
    )


def _load_history(player: Any) -> list[PlayedRound]:
    """The player's last timed rounds, oldest first."""
    last = reversed(_LAST_ROUNDS(player=player.pk))
    return [PlayedRound(points=score - bonus, difficulty=hard) for score, bonus, hard in last]


def _find_seen_words(player: Any, relation: Relation) -> set[str]:
    return set(_SEEN_WORDS(player=player.pk, relation=relation.value))


# Every round asks these: they are compiled once (`prepared`).
_PLAYER = QueryParameter("player", BigIntegerField())
_LAST_ROUNDS = PreparedQuery(
    lambda: (
        Round.objects.filter(player=_PLAYER, state=State.FINISHED, untimed=False)
        .order_by("-started_at")
        .values_list("score", "bonus", "difficulty")[:MAX_HISTORY_ROUNDS]
    )
)
_SEEN_WORDS = PreparedQuery(
    lambda: Round.objects.filter(
        player=_PLAYER, word__relation=QueryParameter("relation", CharField())
    ).values_list("word__base", flat=True)
)
