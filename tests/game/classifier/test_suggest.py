"""Pairs that the classifier suggests for Nym or Not, with their probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from idiolect.game.classifier.examples import Example, KnownPairs
from idiolect.game.classifier.suggest import suggest_pairs
from idiolect.game.export.pairs import MIN_PLAYERS, PairRow
from idiolect.game.rules.relations import Relation

GROUPS = ("cat", "car")
LEXICON = {
    "meronyms": {f"{group}{n}": [f"{group}{n}-part{k}" for k in range(4)]
                 for group in GROUPS for n in range(8)},
    "synonyms": {"big": ["large"]},
}  # fmt: skip
GIVEN = PairRow(
    relation="meronyms",
    base_word="cat1",
    answer="whisker",
    players=MIN_PLAYERS,
    asked=9,
    given=3,
    rounds=9,
    share=1 / 3,
    in_wordnet=False,
    confirmed=0,
    rejected=0,
    agreement=None,
    agreement_low=None,
    agreement_high=None,
)


def encoder(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors; words of the same group are near each other."""
    rows: list[NDArray[np.float64]] = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        row = np.random.default_rng(seed).normal(scale=0.05, size=4)
        row[GROUPS.index(text[:3])] += 1.0
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows).astype(np.float32)


class FakeClassifier:
    """A classifier of meronyms that predicts 0.9 for "whisker" and 0.5 otherwise."""

    models: ClassVar = {"meronyms": None}
    extractor = SimpleNamespace(encoder=encoder)

    def predict_proba(self, pairs: Sequence[Example]) -> list[float]:
        return [0.9 if pair.answer == "whisker" else 0.5 for pair in pairs]


def suggest(rows: Sequence[PairRow] = (), **options: Any) -> list[Any]:
    return suggest_pairs(FakeClassifier(), LEXICON, rows, **options)  # type: ignore[arg-type]


def test_suggest_pairs_borrows_unknown_pairs_from_neighbors() -> None:
    found = suggest(count=40)
    assert len(found) == len({(p.base_word, p.answer) for p in found}) == 40
    known = KnownPairs(LEXICON)
    for pair in found:
        assert pair.relation is Relation.MERONYMS and pair.likely == 0.5
        assert not known("meronyms", pair.base_word, pair.answer)
        # The five nearest words are of the same group.
        assert pair.base_word[:3] == pair.answer[:3]
    assert suggest(count=40) == found != suggest(count=40, seed=1)


def test_suggest_pairs_includes_unlisted_answers_of_enough_players() -> None:
    listed = replace(GIVEN, answer="tail", in_wordnet=True)
    rare = replace(GIVEN, answer="bell", players=MIN_PLAYERS - 1)
    found = suggest([GIVEN, listed, rare], count=0)
    assert [(p.base_word, p.answer, p.likely) for p in found] == [("cat1", "whisker", 0.9)]


def test_suggest_pairs_borrows_nothing_from_few_words() -> None:
    few = {"meronyms": dict(list(LEXICON["meronyms"].items())[:5])}
    assert suggest_pairs(FakeClassifier(), few) == []  # type: ignore[arg-type]
