"""How well word relations are told from sampled pairs: on WordNet's words and the original game's.

No base word that is judged was learnt from. For the original game's pairs that means: once by a
classifier of WordNet's other words alone, and once, in folds over its base words, with the game's
pairs of the other folds beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
from idiolect.game.classifier.likelihood import LikelihoodScorer
from idiolect.game.classifier.model import Doubles
from idiolect.game.classifier.train import (
    ClassifierConfig,
    DataSplit,
    assign_part,
    compare_variants,
    split_pairs,
)
from idiolect.game.export.pairs import PairRow
from idiolect.storage.files import write_atomic

FOLDS = 5
PARTS = "meronyms"
SINGLE_FEATURE_WAYS = (
    "majority",
    "cosine alone",
    "answer given word alone",
    "word given answer alone",
)
TRAINED_WAYS = ("scores", "vectors", "logistic", "mlp")


@dataclass(frozen=True, kw_only=True)
class RelationOutcome:
    """One way's figures on one set of pairs."""

    pairs: str
    learnt: str
    """What it was trained on."""
    way: str
    figures: ClassifierMetrics
    by_how: dict[str, tuple[int, float]]


class LikelihoodCache:
    """Likelihoods that are kept in a file, so that a second run need not run the base again."""

    def __init__(self, likelihoods: LikelihoodScorer, path: Path) -> None:
        self.likelihoods, self.path = likelihoods, path
        if path.is_file():
            rows = json.loads(path.read_text(encoding="utf-8"))
            likelihoods.scored.update({(a, b): (nats, n) for a, b, nats, n in rows})

    def __call__(self, pairs: Sequence[Example]) -> np.ndarray:
        order = sorted(range(len(pairs)), key=lambda n: pairs[n].word_pair)
        for start in range(0, len(order), 100):
            before = len(self.likelihoods.scored)
            self.likelihoods([pairs[n] for n in order[start : start + 100]])
            if len(self.likelihoods.scored) > before:
                self._save_cache()
        return self.likelihoods(pairs)

    def _save_cache(self) -> None:
        rows = [[a, b, nats, n] for (a, b), (nats, n) in self.likelihoods.scored.items()]
        write_atomic(self.path, json.dumps(rows))


def evaluate_on_wordnet(
    lexicon: Lexicon, describe: FeatureExtractor, config: ClassifierConfig
) -> dict[str, list[RelationOutcome]]:
    """Every way on WordNet's pairs, by relation."""
    found: dict[str, list[RelationOutcome]] = {}
    for relation in sorted(lexicon):
        parts = split_pairs(lexicon, relation, [], config)
        _, chances = compare_variants(parts, describe, seed=config.seed)
        found[relation] = compute_outcomes(relation, "WordNet", parts.test, chances, config.seed)
    return found


def compute_outcomes(
    name: str, learnt: str, test: Sequence[Example], chances: dict[str, Doubles], seed: int
) -> list[RelationOutcome]:
    """The figures of all ways."""
    return [
        RelationOutcome(
            pairs=name,
            learnt=learnt,
            way=way,
            figures=compute_metrics(test, chances[way], seed=seed),
            by_how=dict(compute_auc_by_origin(test, chances[way])),
        )
        for way in (*SINGLE_FEATURE_WAYS, *TRAINED_WAYS)
        if way in chances
    ]


def evaluate_on_game(
    lexicon: Lexicon, rows: Sequence[PairRow], describe: FeatureExtractor, config: ClassifierConfig
) -> list[RelationOutcome]:
    """Every way on the original game's parts, without and with its pairs of other base words."""
    true = from_game(rows, PARTS)
    known = KnownPairs(lexicon, rows)
    words = {example.base_word for example in true}
    without = {w: a for w, a in lexicon[PARTS].items() if w not in words}
    plain = split_pairs({**lexicon, PARTS: without}, PARTS, [], config)

    def assign_fold(word: str) -> str:
        return str(assign_bucket(word, config.seed + 1, FOLDS))

    pairs = add_false_pairs(true, known, lexicon, seed=config.seed, part=assign_fold)
    # A pair reversed has another base word, which WordNet's part may not have either.
    bases = {example.base_word for example in pairs}
    plain = DataSplit(
        many=tuple(e for e in plain.many if e.base_word not in bases),
        apart=tuple(e for e in plain.apart if e.base_word not in bases),
        test=tuple(pairs),
    )
    _, alone = compare_variants(plain, describe, seed=config.seed)
    joined = {way: np.zeros(len(pairs)) for way in alone}
    for number in range(FOLDS):
        asked = [n for n, e in enumerate(pairs) if assign_fold(e.base_word) == str(number)]
        others = [e for e in pairs if assign_fold(e.base_word) != str(number)]
        apart = [e for e in others if assign_part(e.base_word, config.seed) == "apart"]
        parts = DataSplit(
            many=(*plain.many, *(e for e in others if e not in set(apart))),
            apart=(*plain.apart, *apart),
            test=tuple(pairs[n] for n in asked),
        )
        for way, chances in compare_variants(parts, describe, seed=config.seed)[1].items():
            joined[way][asked] = chances
    name = "the original game's parts"
    return [
        *compute_outcomes(name, "WordNet", pairs, alone, config.seed),
        *compute_outcomes(name, "WordNet and the game", pairs, joined, config.seed),
    ]


def evaluate_with_game_pairs(
    lexicon: Lexicon, rows: Sequence[PairRow], describe: FeatureExtractor, config: ClassifierConfig
) -> list[RelationOutcome]:
    """WordNet's parts judged by a classifier that learnt from the game's pairs too, but for those
    of the base words that are judged."""
    judged_words = {e.base_word for e in split_pairs(lexicon, PARTS, [], config).test}
    usable = [row for row in rows if row.base_word not in judged_words]
    parts = split_pairs(lexicon, PARTS, usable, config)
    plain = split_pairs(lexicon, PARTS, [], config)
    parts = replace(parts, test=plain.test)
    _, chances = compare_variants(parts, describe, seed=config.seed)
    return compute_outcomes(PARTS, "WordNet and the game", parts.test, chances, config.seed)
