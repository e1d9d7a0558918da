"""Undecided pairs for Nym or Not, with the probabilities that the classifier predicts.

There are two sources: answers that players gave and WordNet does not list, and answers that WordNet
lists for neighbors of the base word, which are plausible but mostly false.
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
"""Number of nearest base words from which answers are borrowed."""
MAX_WORDS = 300
"""Number of base words per relation that get borrowed answers."""


def suggest_pairs(
    classifier: Classifier,
    lexicon: Lexicon,
    rows: Sequence[PairRow] = (),
    *,
    count: int = 200,
    seed: int = 0,
) -> list[Pair]:
    """Pairs with predicted probabilities: all that enough players gave and WordNet does not list,
    and at most ``count`` borrowed pairs per relation."""
    examples = _make_player_examples(rows)
    for relation in sorted(set(lexicon) & set(classifier.models)):
        examples += _borrow_pairs(classifier, lexicon, relation, count=count, seed=seed)
    probabilities = classifier.predict_proba(examples) if examples else []
    return [
        Pair(
            relation=Relation(example.relation),
            base_word=example.base_word,
            answer=example.answer,
            likely=probability,
        )
        for example, probability in zip(examples, probabilities, strict=True)
    ]


def _make_player_examples(rows: Sequence[PairRow]) -> list[Example]:
    # The label is a placeholder, since these examples are only predicted.
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
    # Neighbors by cosine; column 0 is the word itself.
    vectors = np.asarray(classifier.extractor.encoder(words), dtype=np.float32)
    near = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1 : NUM_NEIGHBORS + 1]
    found: dict[tuple[str, str], Example] = {}
    # Draw more often than needed: some pairs are known to hold, or were drawn before.
    for _ in range(4 * count):
        if len(found) == count or len(words) <= NUM_NEIGHBORS:
            break
        index = draw.randrange(len(words))
        lender = words[draw.choice(near[index].tolist())]
        base_word, answer = (
            words[index],
            draw.choice(lexicon[relation][lender][:MAX_FAMILIAR_ANSWERS]),
        )
        # The label is a placeholder here too.
        if not known(relation, base_word, answer):
            found[base_word, answer] = Example(
                relation=relation, base_word=base_word, answer=answer, related=False
            )
    return list(found.values())
