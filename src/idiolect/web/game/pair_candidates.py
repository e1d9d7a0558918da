"""Candidate pairs for Nym or Not, sampled from four sources, with their votes so far.

The sources are: pairs that WordNet lists; answers that WordNet lists for another word or relation
and that are probably wrong; answers that enough players gave; and a classifier's predictions
(`idiolect.game.predictions`). Pairs with votes are sampled again. `rules.pairs.choose_next_pairs`
then chooses the pairs for a player.
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
"""Prior probability of pairs that WordNet lists or does not list; WordNet has errors and gaps."""
BASE_WORDS_PER_RELATION = 40
"""Number of base words per relation to make pairs from."""
MAX_KNOWN_ANSWERS = 8
"""Number of WordNet's most common answers to choose from; players have under a second per pair."""
MAX_VOTED_PAIRS = 100
"""Number of pairs with votes to ask again, because a majority needs several votes on one pair."""
MAX_PREDICTED_PAIRS = 200

_CONFUSABLE_RELATION = {
    Relation.SYNONYMS: Relation.ANTONYMS,
    Relation.ANTONYMS: Relation.SYNONYMS,
    Relation.HYPONYMS: Relation.MERONYMS,
    Relation.MERONYMS: Relation.HYPONYMS,
}
"""The relation whose answers look right but are wrong, such as "old" as a synonym of "new"."""


def gather_candidates(draw: Random) -> list[Pair]:
    """Return some hundreds of distinct pairs with all players' votes."""
    found: dict[tuple[str, str, str], Pair] = {}
    # The first source of a pair sets its probability, so pairs with votes come first.
    for pair in (
        *_sample_voted_pairs(draw),
        *_sample_player_pairs(draw),
        *_sample_predicted_pairs(draw),
        *_sample_wordnet_pairs(draw),
    ):
        found.setdefault(_make_key(pair), pair)
    # All sources pass the filter for slurs and hidden answers, not only players' answers.
    shown = set(
        answer_counts.filter_showable((stem(pair.answer), pair.answer) for pair in found.values())
    )
    return _add_votes({key: pair for key, pair in found.items() if (key[2], pair.answer) in shown})


def _make_key(pair: Pair) -> tuple[str, str, str]:
    """Return (relation, base word, stem); pairs with equal keys are the same pair."""
    return pair.relation.value, pair.base_word, stem(pair.answer)


def _sample_wordnet_pairs(draw: Random) -> Iterator[Pair]:
    """Yield for each sampled base word a pair that WordNet lists and one that it does not list."""
    table = words.load_table()
    for relation in Relation:
        bases = table.base_words(relation)
        for base in draw.sample(bases, min(len(bases), BASE_WORDS_PER_RELATION)):
            listed = table.list_answers(relation, base)
            if listed:
                yield _make_pair(relation, base, draw.choice(listed[:MAX_KNOWN_ANSWERS]))
            yield from _make_wrong_pair(relation, base, draw.choice(bases), draw)


def _make_wrong_pair(
    relation: Relation, base: str, other_base: str, draw: Random
) -> Iterator[Pair]:
    """Yield at most one pair that WordNet does not list.

    Its answer belongs to the same word in another relation, or to ``other_base`` in this relation.
    """
    table = words.load_table()
    near = table.list_answers(_CONFUSABLE_RELATION[relation], base)
    others = near if near and draw.random() < 0.5 else table.list_answers(relation, other_base)
    if others:
        answer = draw.choice(others[:MAX_KNOWN_ANSWERS])
        # The answer may fit this word too; then there is no pair.
        if stem(answer) not in table.get_stems(relation, base) and stem(answer) != stem(base):
            yield _make_pair(relation, base, answer)


def _make_pair(relation: Relation, base: str, answer: str) -> Pair:
    """Make a pair with the prior probability that WordNet gives it."""
    listed = stem(answer) in words.load_table().get_stems(relation, base)
    return Pair(
        relation=relation,
        base_word=base,
        answer=answer,
        likely=LISTED_PROBABILITY if listed else UNLISTED_PROBABILITY,
    )


def _sample_player_pairs(draw: Random) -> Iterator[Pair]:
    """Yield players' common answers that WordNet does not list; their truth is open."""
    # Fewer players than this cannot have given any answer that may be shown.
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
    predicted = _load_predictions()
    return draw.sample(predicted, min(len(predicted), MAX_PREDICTED_PAIRS))


def _load_predictions() -> tuple[Pair, ...]:
    """Read the classifier's predictions in the site's folder; empty if there are none."""
    path = Path(settings.HOME) / predictions.PREDICTIONS_FILE
    return _read_cached(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=2)
def _read_cached(path: Path, modified_ns: int) -> tuple[Pair, ...]:
    """Read predictions; ``modified_ns`` is part of the cache key, so a new file is read."""
    return predictions.read_predictions(path)


def _sample_voted_pairs(draw: Random) -> Iterator[Pair]:
    """Yield pairs with recent votes, with their prior probabilities."""
    # Sort the pairs, so that the same seed draws the same pairs.
    latest = PairVote.objects.order_by("-pk").values_list("relation", "base", "answer", "likely")
    voted = sorted(set(latest[: 10 * MAX_VOTED_PAIRS]))
    predicted = {_make_key(pair) for pair in _load_predictions()}
    for relation, base, answer, likely in draw.sample(voted, min(len(voted), MAX_VOTED_PAIRS)):
        pair = Pair(relation=Relation(relation), base_word=base, answer=answer, likely=likely)
        # A pair that is neither from WordNet nor predicted is from players. Players may have
        # deleted their accounts since; it is shown only if enough players still give it.
        from_players = (
            likely not in (LISTED_PROBABILITY, UNLISTED_PROBABILITY)
            and _make_key(pair) not in predicted
        )
        if (
            not from_players
            or answer_counts.count_players_with_answer(*_make_key(pair))
            >= answer_counts.MIN_PLAYERS_TO_SHOW
        ):
            yield pair


def _add_votes(found: dict[tuple[str, str, str], Pair]) -> list[Pair]:
    """Return the pairs with their numbers of yes and no votes."""
    # The query finds a superset (by base word), which is cheaper than a condition per pair.
    counted = (
        PairVote.objects.filter(base__in={pair.base_word for pair in found.values()})
        .order_by()
        .values_list("relation", "base", "stem")
        .annotate(ayes=Count("pk", filter=Q(yes=True)), noes=Count("pk", filter=Q(yes=False)))
    )
    for relation, base, key, yes, no in counted:
        pair_key = (relation, base, key)
        if pair_key in found:
            found[pair_key] = replace(found[pair_key], yes=yes, no=no)
    return list(found.values())
