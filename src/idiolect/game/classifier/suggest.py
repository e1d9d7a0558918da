"""Pairs for Nym or Not that nobody has judged, with what the classifier believes of them.

Two sources: what players gave and WordNet does not list, and what WordNet lists for words near the
base word, which is plausible and mostly untrue.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from idiolect.config import derive_seed
from idiolect.game.classifier.examples import MAX_FAMILIAR_ANSWERS, Example, KnownPairs, Lexicon
from idiolect.game.classifier.train import Classifier
from idiolect.game.export.pairs import MIN_PLAYERS, PairRow
from idiolect.game.rules.pairs import Pair
from idiolect.game.rules.relations import Relation

NUM_NEIGHBORS = 5
"""Nearest base words whose answers are borrowed."""
MAX_WORDS = 300
"""Base words of a relation that are looked at."""


def suggest_pairs(
    classifier: Classifier,
    lexicon: Lexicon,
    rows: Sequence[PairRow] = (),
    *,
    count: int = 200,
    seed: int = 0,
) -> list[Pair]:
    """At most ``count`` borrowed pairs a relation and all that players gave, with probabilities."""
    asked = _make_player_examples(rows)
    for relation in sorted(set(lexicon) & set(classifier.models)):
        asked += _borrow_pairs(classifier, lexicon, relation, count=count, seed=seed)
    chances = classifier.predict_proba(asked) if asked else []
    return [
        Pair(
            relation=Relation(example.relation),
            base_word=example.base_word,
            answer=example.answer,
            likely=chance,
        )
        for example, chance in zip(asked, chances, strict=True)
    ]


def _make_player_examples(rows: Sequence[PairRow]) -> list[Example]:
    return [
        Example(relation=row.relation, base_word=row.base_word, answer=row.answer, related=True)
        for row in rows
        if row.players >= MIN_PLAYERS and not row.in_wordnet
    ]


def _borrow_pairs(
    classifier: Classifier, lexicon: Lexicon, relation: str, *, count: int, seed: int
) -> list[Example]:
    draw = random.Random(derive_seed(seed, "borrowed", relation))
    known = KnownPairs(lexicon)
    words = sorted(lexicon[relation])
    words = sorted(draw.sample(words, min(MAX_WORDS, len(words))))
    vectors = np.asarray(classifier.describe.encoder(words), dtype=np.float32)
    near = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1 : NUM_NEIGHBORS + 1]
    found: dict[tuple[str, str], Example] = {}
    for _ in range(4 * count):  # some draws are known to hold, or were drawn before
        if len(found) == count or len(words) <= NUM_NEIGHBORS:
            break
        place = draw.randrange(len(words))
        lender = words[draw.choice(near[place].tolist())]
        base_word, answer = (
            words[place],
            draw.choice(lexicon[relation][lender][:MAX_FAMILIAR_ANSWERS]),
        )
        if not known(relation, base_word, answer):
            found[base_word, answer] = Example(
                relation=relation, base_word=base_word, answer=answer, related=False
            )
    return list(found.values())
