"""Evaluation of the word relation classifier on pairs from WordNet and from the original game.

No base word is used for both training and evaluation. The original game's pairs are evaluated
twice: with a classifier trained only on WordNet's other words, and by cross-validation over base
words with a classifier trained also on the game's pairs of the other folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from idiolect.game.classifier.examples import (
    Example,
    KnownPairs,
    Lexicon,
    add_false_pairs,
    assign_bucket,
    from_game,
)
from idiolect.game.classifier.features import FeatureExtractor
from idiolect.game.classifier.judge import ClassifierMetrics, compute_auc_by_origin, compute_metrics
from idiolect.game.classifier.model import Doubles
from idiolect.game.classifier.train import (
    ClassifierConfig,
    DataSplit,
    assign_part,
    compare_variants,
    split_pairs,
)
from idiolect.game.export.pairs import PairRow

FOLDS = 5
PARTS = "meronyms"
SINGLE_FEATURE_VARIANTS = (
    "majority",
    "cosine alone",
    "answer given word alone",
    "word given answer alone",
)
TRAINED_VARIANTS = ("scores", "vectors", "logistic", "mlp")


@dataclass(frozen=True, kw_only=True)
class RelationOutcome:
    """Metrics of one variant of the classifier on one set of pairs."""

    pairs: str
    trained_on: str
    """The training data."""
    variant: str
    figures: ClassifierMetrics
    auc_by_origin: dict[str, tuple[int, float]]


def evaluate_on_wordnet(
    lexicon: Lexicon, extractor: FeatureExtractor, config: ClassifierConfig
) -> dict[str, list[RelationOutcome]]:
    """The outcomes of all variants on WordNet's pairs, by relation."""
    found: dict[str, list[RelationOutcome]] = {}
    for relation in sorted(lexicon):
        parts = split_pairs(lexicon, relation, [], config)
        _, probabilities = compare_variants(parts, extractor, seed=config.seed)
        found[relation] = compute_outcomes(
            relation, "WordNet", parts.test, probabilities, config.seed
        )
    return found


def compute_outcomes(
    name: str,
    trained_on: str,
    test: Sequence[Example],
    probabilities: dict[str, Doubles],
    seed: int,
) -> list[RelationOutcome]:
    """The outcomes of all variants that are reported."""
    return [
        RelationOutcome(
            pairs=name,
            trained_on=trained_on,
            variant=variant,
            figures=compute_metrics(test, probabilities[variant], seed=seed),
            auc_by_origin=dict(compute_auc_by_origin(test, probabilities[variant])),
        )
        for variant in (*SINGLE_FEATURE_VARIANTS, *TRAINED_VARIANTS)
        if variant in probabilities
    ]


def evaluate_on_game(
    lexicon: Lexicon, rows: Sequence[PairRow], extractor: FeatureExtractor, config: ClassifierConfig
) -> list[RelationOutcome]:
    """The outcomes of all variants on the original game's meronyms: trained on WordNet only, and
    trained also on the game's pairs of other base words."""
    # Train on WordNet without the base words of the game.
    true = from_game(rows, PARTS)
    known = KnownPairs(lexicon, rows)
    words = {example.base_word for example in true}
    without = {w: a for w, a in lexicon[PARTS].items() if w not in words}
    plain = split_pairs({**lexicon, PARTS: without}, PARTS, [], config)

    def assign_fold(word: str) -> str:
        return str(assign_bucket(word, config.seed + 1, FOLDS))

    pairs = add_false_pairs(true, known, lexicon, seed=config.seed, part=assign_fold)
    # Reversed pairs have other base words, which must not be in the training data either.
    bases = {example.base_word for example in pairs}
    plain = DataSplit(
        first_stage=tuple(e for e in plain.first_stage if e.base_word not in bases),
        last_stage=tuple(e for e in plain.last_stage if e.base_word not in bases),
        test=tuple(pairs),
    )
    _, alone = compare_variants(plain, extractor, seed=config.seed)
    # Cross-validation: add the game's pairs of the other folds to WordNet's.
    joined = {variant: np.zeros(len(pairs)) for variant in alone}
    for number in range(FOLDS):
        asked = [n for n, e in enumerate(pairs) if assign_fold(e.base_word) == str(number)]
        others = [e for e in pairs if assign_fold(e.base_word) != str(number)]
        last_stage = [e for e in others if assign_part(e.base_word, config.seed) == "last_stage"]
        parts = DataSplit(
            first_stage=(*plain.first_stage, *(e for e in others if e not in set(last_stage))),
            last_stage=(*plain.last_stage, *last_stage),
            test=tuple(pairs[n] for n in asked),
        )
        for variant, probabilities in compare_variants(parts, extractor, seed=config.seed)[
            1
        ].items():
            joined[variant][asked] = probabilities
    name = "the original game's parts"
    return [
        *compute_outcomes(name, "WordNet", pairs, alone, config.seed),
        *compute_outcomes(name, "WordNet and the game", pairs, joined, config.seed),
    ]


def evaluate_with_game_pairs(
    lexicon: Lexicon, rows: Sequence[PairRow], extractor: FeatureExtractor, config: ClassifierConfig
) -> list[RelationOutcome]:
    """The outcomes on WordNet's meronyms, trained also on the game's pairs of other base words."""
    # Leave out the game's pairs of the evaluation words, and evaluate on WordNet's pairs only.
    judged_words = {e.base_word for e in split_pairs(lexicon, PARTS, [], config).test}
    usable = [row for row in rows if row.base_word not in judged_words]
    parts = split_pairs(lexicon, PARTS, usable, config)
    plain = split_pairs(lexicon, PARTS, [], config)
    parts = replace(parts, test=plain.test)
    _, probabilities = compare_variants(parts, extractor, seed=config.seed)
    return compute_outcomes(PARTS, "WordNet and the game", parts.test, probabilities, config.seed)
