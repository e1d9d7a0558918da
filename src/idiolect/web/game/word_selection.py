"""Selects the next word for a player.

Gathers candidates and the player's history from the database; `idiolect.game.rules.choice` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db.models import BigIntegerField, CharField

from idiolect.errors import MissingError
from idiolect.game import words
from idiolect.game.rules.choice import (
    PlayedRound,
    WordStats,
    choose_next_word,
    estimate_difficulty,
    estimate_skill,
)
from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.problems import NotYoursError
from idiolect.web.game.models import Round, State, Word
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter

MAX_PLAYED_WORDS = 150
"""Number of words with rounds that the rules choose from; weighing thousands of words would take
longer than scoring a round."""
MAX_NEW_WORDS = 150
"""Number of words without rounds that the rules choose from."""
CACHE_SECONDS = 5.0
"""Seconds for which a process caches the sums over words; a round that was played a moment ago
hardly changes the choice."""
MAX_HISTORY_ROUNDS = 60
"""Number of latest rounds that estimate a player's skill; earlier rounds have almost no weight
(`rules.choice.estimate_skill`)."""


@dataclass(frozen=True, kw_only=True)
class WordChoice:
    """A base word to ask, and its estimated difficulty."""

    word: Word
    """Has no primary key yet if no player was asked it before."""
    difficulty: float


def choose_word(player: Any, relations: Collection[Relation], *, draw: Random) -> WordChoice:
    """Choose a word of one of the relations. Raises NotYoursError if no word is left."""
    relation = draw.choice(sorted(relations))
    started = _get_started_words(relation)
    candidates = _gather_candidates(relation, started, draw)
    skill, seen = estimate_skill(_load_history(player)), _find_seen_words(player, relation)
    try:
        found = choose_next_word(candidates, skill=skill, seen=seen, draw=draw)
    except MissingError as error:
        raise NotYoursError(str(error)) from error
    return WordChoice(
        word=Word(pk=started.ids.get(found.word), relation=relation.value, base=found.word),
        difficulty=estimate_difficulty(found),
    )


@dataclass(frozen=True, kw_only=True)
class _StartedWords:
    """The words of one relation that have a row in the database, as cached by this process."""

    loaded_at: float
    stats: tuple[WordStats, ...]
    """Only of words that the current WordNet table asks; rounds keep older words in the
    database."""
    ids: dict[str, int]
    """Primary keys by base word."""


_cache: dict[Relation, _StartedWords] = {}


def _get_started_words(relation: Relation) -> _StartedWords:
    """Return the words from the cache; read them again after ``CACHE_SECONDS``."""
    found = _cache.get(relation)
    if found is None or time.monotonic() - found.loaded_at >= CACHE_SECONDS:
        found = _cache[relation] = _read_started_words(relation)
    return found


def _read_started_words(relation: Relation) -> _StartedWords:
    # Take the time before the query, so that the cache never looks newer than its data.
    loaded_at = time.monotonic()
    base_words = frozenset(words.load_table().base_words(relation))
    rows = [
        row
        for row in Word.objects.filter(relation=relation.value)
        .order_by("base")
        .values_list("base", "rounds", "skips", "points", "pk")
        if row[0] in base_words
    ]
    return _StartedWords(
        loaded_at=loaded_at,
        stats=tuple(make_word_stats(relation, *row[:4]) for row in rows),
        ids={row[0]: row[4] for row in rows},
    )


def _gather_candidates(relation: Relation, started: _StartedWords, draw: Random) -> list[WordStats]:
    """Sample words with and without rounds."""
    bases = words.load_table().base_words(relation)
    # Draw more than needed, because some of the drawn words have rounds already.
    drawn = draw.sample(bases, min(len(bases), MAX_PLAYED_WORDS + MAX_NEW_WORDS))
    new = [base for base in drawn if base not in started.ids][:MAX_NEW_WORDS]
    played = draw.sample(started.stats, min(len(started.stats), MAX_PLAYED_WORDS))
    return played + [make_word_stats(relation, base, 0, 0, 0) for base in new]


def make_word_stats(
    relation: Relation, base: str, rounds: int, skips: int, points: int
) -> WordStats:
    """Combine a word's counts with the properties that the WordNet table has of it."""
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
    """Return the player's latest timed rounds, oldest first."""
    rounds = reversed(_LAST_ROUNDS(player=player.pk))
    return [
        PlayedRound(points=score - bonus, difficulty=difficulty)
        for score, bonus, difficulty in rounds
    ]


def _find_seen_words(player: Any, relation: Relation) -> set[str]:
    return set(_SEEN_WORDS(player=player.pk, relation=relation.value))


# Each round runs these queries, so they are compiled once (`idiolect.web.prepared_queries`).
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
