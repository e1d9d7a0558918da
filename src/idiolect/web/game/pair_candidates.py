"""Pairs that Nym or Not may ask: gathered from four sources, few of each, with their votes so far.

What WordNet lists; what it lists for something else (most likely wrong here); answers that enough
players gave and that may be shown; what a classifier predicts (`predictions`). Which of them a
player gets is the rules' to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random

from django.conf import settings
from django.db.models import Count, Q

from idiolect.game import predictions, words
from idiolect.game.rules.answers import stem
from idiolect.game.rules.pairs import Pair
from idiolect.game.rules.relations import Relation
from idiolect.web.game import answer_counts
from idiolect.web.game.models import PairVote, Word

LISTED_PROBABILITY, UNLISTED_PROBABILITY = 0.95, 0.05
"""How far WordNet is believed: it has slips, and it does not know everything."""
BASE_WORDS_PER_RELATION = 40
"""Base words a relation from which pairs are made."""
MAX_KNOWN_ANSWERS = 8
"""Of WordNet's answers to a word the best known ones: a pair is judged in less than a second."""
MAX_VOTED_PAIRS = 100
"""Pairs with votes that are asked on: a majority needs several players on one pair."""
MAX_PREDICTED_PAIRS = 200

_CONFUSABLE_RELATION = {
    Relation.SYNONYMS: Relation.ANTONYMS,
    Relation.ANTONYMS: Relation.SYNONYMS,
    Relation.HYPONYMS: Relation.MERONYMS,
    Relation.MERONYMS: Relation.HYPONYMS,
}
"""Whose answers look right and are not: "old" for another word for "new"."""


def gather_candidates(draw: Random) -> list[Pair]:
    """Some hundreds of pairs, each once, with the votes of all players."""
    found: dict[tuple[str, str, str], Pair] = {}
    for pair in (
        *_sample_voted_pairs(draw),
        *_sample_player_pairs(draw),
        *_sample_predicted_pairs(draw),
        *_sample_wordnet_pairs(draw),
    ):
        found.setdefault(_make_key(pair), pair)
    shown = set(
        answer_counts.filter_showable((stem(pair.answer), pair.answer) for pair in found.values())
    )
    return _add_votes({key: pair for key, pair in found.items() if (key[2], pair.answer) in shown})


def _make_key(pair: Pair) -> tuple[str, str, str]:
    return pair.relation.value, pair.base_word, stem(pair.answer)


def _sample_wordnet_pairs(draw: Random) -> Iterator[Pair]:
    table = words.load_table()
    for relation in Relation:
        bases = table.base_words(relation)
        for base in draw.sample(bases, min(len(bases), BASE_WORDS_PER_RELATION)):
            listed = table.list_answers(relation, base)
            if listed:
                yield _make_pair(relation, base, draw.choice(listed[:MAX_KNOWN_ANSWERS]))
            yield from _make_wrong_pair(relation, base, draw.choice(bases), draw)


def _make_wrong_pair(relation: Relation, base: str, stranger: str, draw: Random) -> Iterator[Pair]:
    """One that WordNet does not list here: of another relation, or of another word."""
    table = words.load_table()
    near = table.list_answers(_CONFUSABLE_RELATION[relation], base)
    others = near if near and draw.random() < 0.5 else table.list_answers(relation, stranger)
    if others:
        answer = draw.choice(others[:MAX_KNOWN_ANSWERS])
        if stem(answer) not in table.get_stems(relation, base) and stem(answer) != stem(base):
            yield _make_pair(relation, base, answer)


def _make_pair(relation: Relation, base: str, answer: str) -> Pair:
    listed = stem(answer) in words.load_table().get_stems(relation, base)
    return Pair(
        relation=relation,
        base_word=base,
        answer=answer,
        likely=LISTED_PROBABILITY if listed else UNLISTED_PROBABILITY,
    )


def _sample_player_pairs(draw: Random) -> Iterator[Pair]:
    """What players gave and WordNet does not list: open."""
    played = list(
        Word.objects.filter(rounds__gte=answer_counts.MIN_PLAYERS_TO_SHOW)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    chosen = draw.sample(played, min(len(played), BASE_WORDS_PER_RELATION))
    for word in Word.objects.filter(pk__in=chosen).order_by("pk"):
        relation = Relation(word.relation)
        listed = words.load_table().get_stems(relation, word.base)
        for answer in answer_counts.list_top_answers(word):
            if answer.stem not in listed:
                yield Pair(relation=relation, base_word=word.base, answer=answer.text)


def _sample_predicted_pairs(draw: Random) -> Iterable[Pair]:
    known = _load_predictions()
    return draw.sample(known, min(len(known), MAX_PREDICTED_PAIRS))


def _load_predictions() -> tuple[Pair, ...]:
    path = Path(settings.HOME) / predictions.PREDICTIONS_FILE
    return _read_cached(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=2)
def _read_cached(path: Path, changed: int) -> tuple[Pair, ...]:
    """``changed`` is the file's time of change, so that new predictions are read."""
    return predictions.read_predictions(path)


def _sample_voted_pairs(draw: Random) -> Iterator[Pair]:
    """Pairs that somebody voted on lately, with what was known of them beforehand."""
    latest = PairVote.objects.order_by("-pk").values_list("relation", "base", "answer", "likely")
    voted = sorted(set(latest[: 10 * MAX_VOTED_PAIRS]))
    predicted = {_make_key(pair) for pair in _load_predictions()}
    for relation, base, answer, likely in draw.sample(voted, min(len(voted), MAX_VOTED_PAIRS)):
        pair = Pair(relation=Relation(relation), base_word=base, answer=answer, likely=likely)
        # Of players' own answers, some who gave it may have left since: it is shown no longer.
        own = (
            likely not in (LISTED_PROBABILITY, UNLISTED_PROBABILITY)
            and _make_key(pair) not in predicted
        )
        if (
            not own
            or answer_counts.count_players_with_answer(*_make_key(pair))
            >= answer_counts.MIN_PLAYERS_TO_SHOW
        ):
            yield pair


def _add_votes(found: dict[tuple[str, str, str], Pair]) -> list[Pair]:
    counted = (
        PairVote.objects.filter(base__in={pair.base_word for pair in found.values()})
        .order_by()
        .values_list("relation", "base", "stem")
        .annotate(ayes=Count("pk", filter=Q(yes=True)), noes=Count("pk", filter=Q(yes=False)))
    )
    for relation, base, key, yes, no in counted:
        at = (relation, base, key)
        if at in found:
            found[at] = replace(found[at], yes=yes, no=no)
    return list(found.values())
