"""Training of the classifier of word relations: splits, features, and one model per relation.

Compares several variants of the model on base words that training has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.config import to_plain
from idiolect.errors import MismatchError
from idiolect.events import Listener, Message, null_listener
from idiolect.game.classifier.examples import (
    Example,
    KnownPairs,
    Lexicon,
    add_false_pairs,
    assign_bucket,
    from_game,
    from_lexicon,
)
from idiolect.game.classifier.features import FeatureExtractor
from idiolect.game.classifier.fit import FeatureMatrix, StageFitter
from idiolect.game.classifier.judge import ClassifierMetrics, compute_metrics
from idiolect.game.classifier.model import (
    Doubles,
    Kind,
    RelationModel,
    load_models,
    save_models,
)
from idiolect.game.export.pairs import PairRow
from idiolect.storage.files import stage_folder
from idiolect.storage.manifest import Manifest

LAST_STAGE_PERCENT, TEST_PERCENT = 20, 20
"""Percent of the base words for the last stage, and for evaluation only."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Training settings of the classifier of word relations."""

    pairs: int = 4000
    """True pairs from WordNet per relation for the first stage, which uses only vectors. The same
    number of false pairs is added. These pairs are cheap."""
    scored: int = 300
    """True pairs from WordNet for the last stage, and the same number for evaluation. The same
    number of false pairs is added to each. The base model scores all of these pairs."""
    pairs_of_a_word: int = 4
    """Maximum number of pairs per base word: many words teach more than many pairs of few."""
    likelihood: bool = True
    """Whether to add the base model's likelihoods to the scores."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSplit:
    """Pairs in three parts that share no base word."""

    first_stage: tuple[Example, ...]
    """For the first stage."""
    last_stage: tuple[Example, ...]
    """For the last stage."""
    test: tuple[Example, ...]
    """For evaluation only."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One model per relation, and the feature extractor that they need."""

    models: Mapping[str, RelationModel]
    extractor: FeatureExtractor

    def predict_proba(self, pairs: Sequence[Example]) -> list[float]:
        """The probability of each pair, in order.

        Raises MismatchError if the classifier has no model for the relation of a pair.
        """
        # Predict all pairs of a relation at once, then put them back into input order.
        probabilities = [0.0] * len(pairs)
        for relation in sorted({pair.relation for pair in pairs}):
            if relation not in self.models:
                known = ", ".join(sorted(self.models))
                raise MismatchError(
                    f"the classifier has no model for {relation}; it has models for {known}"
                )
            rows = [n for n, pair in enumerate(pairs) if pair.relation == relation]
            numbers = FeatureMatrix.from_pairs([pairs[n] for n in rows], self.extractor)
            found = self.models[relation].predict_proba(numbers.vectors, numbers.scores)
            for n, probability in zip(rows, found.tolist(), strict=True):
                probabilities[n] = probability
        return probabilities


@dataclass(frozen=True, kw_only=True)
class RelationSummary:
    """The training result of one relation."""

    relation: str
    chosen: Kind
    pairs: int
    """Number of training pairs in both stages."""
    game_pairs: int
    """Number of these that come from the game."""
    judged: Mapping[str, ClassifierMetrics]
    """Metrics of each variant (`list_variants`) on the evaluation pairs."""


def assign_part(word: str, seed: int) -> str:
    """The field of `DataSplit` for a base word; it depends only on word and seed."""
    bucket = assign_bucket(word, seed)
    return (
        "last_stage"
        if bucket < LAST_STAGE_PERCENT
        else "test"
        if bucket < LAST_STAGE_PERCENT + TEST_PERCENT
        else "first_stage"
    )


def split_pairs(
    lexicon: Lexicon, relation: str, game: Sequence[PairRow], config: ClassifierConfig
) -> DataSplit:
    """Split the pairs of a relation, true and false, into three parts that share no base word."""
    # No pair that players gave or confirmed may become a false pair.
    known = KnownPairs(
        lexicon, (row for row in game if row.players or row.confirmed > row.rejected)
    )
    played = from_game(game, relation)
    seen = {example.word_pair for example in played}
    drawn = from_lexicon(lexicon, relation, per_word=config.pairs_of_a_word, seed=config.seed)
    # All pairs of the game count; those of WordNet are added until each part is full.
    room = {"first_stage": config.pairs, "last_stage": config.scored, "test": config.scored}
    true = [example for example in played if example.related]
    # A pair of WordNet that players also gave is not added twice.
    for example in drawn:
        part = assign_part(example.base_word, config.seed)
        if room[part] > 0 and example.word_pair not in seen:
            room[part] -= 1
            true.append(example)
    pairs = add_false_pairs(
        true, known, lexicon, seed=config.seed, part=lambda word: assign_part(word, config.seed)
    )
    pairs += [example for example in played if not example.related]
    # Reversed pairs have another base word, but `add_false_pairs` keeps it in the same part.
    by_part: dict[str, list[Example]] = {"first_stage": [], "last_stage": [], "test": []}
    for example in pairs:
        by_part[assign_part(example.base_word, config.seed)].append(example)
    return DataSplit(**{name: tuple(found) for name, found in by_part.items()})


def list_variants(names: Sequence[str]) -> dict[str, tuple[Kind, tuple[int, ...]]]:
    """The variants that are compared, by name, as (kind, columns of scores): majority, each score
    alone, all scores, vectors alone, and vectors with all scores (logistic and MLP)."""
    every = tuple(range(len(names)))
    found: dict[str, tuple[Kind, tuple[int, ...]]] = {"majority": ("scores", ())}
    found |= {f"{name} alone": ("scores", (n,)) for n, name in enumerate(names)}
    found |= {"scores": ("scores", every)} if len(names) > 1 else {}
    found |= {"vectors": ("logistic", ()), "logistic": ("logistic", every), "mlp": ("mlp", every)}
    return found


def compare_variants(
    parts: DataSplit, extractor: FeatureExtractor, *, seed: int
) -> tuple[dict[str, RelationModel], dict[str, Doubles]]:
    """Fit all variants; returns their models and their probabilities on ``parts.test``."""
    # The first stage uses only vectors, so its pairs need no scores.
    first_stage = FeatureMatrix.from_pairs(parts.first_stage, extractor, scored=False)
    last_stage, test = (
        FeatureMatrix.from_pairs(part, extractor) for part in (parts.last_stage, parts.test)
    )
    fitter = StageFitter(first_stage, last_stage, seed=seed)
    variants = list_variants(extractor.score_names)
    models = {name: fitter.fit(*variant) for name, variant in variants.items()}
    return models, {n: m.predict_proba(test.vectors, test.scores) for n, m in models.items()}


def choose_best_kind(models: Mapping[str, RelationModel]) -> Kind:
    """The kind with the lowest loss on the last stage's pairs; evaluation pairs are not used."""
    kinds: tuple[Kind, ...] = ("scores", "logistic", "mlp")
    return min((k for k in kinds if k in models), key=lambda kind: models[kind].loss)


def train_classifier(
    lexicon: Lexicon,
    out: Path,
    extractor: FeatureExtractor,
    config: ClassifierConfig,
    *,
    game: Sequence[PairRow] = (),
    base: str | None = None,
    contributors: Sequence[str] = (),
    made_with: Mapping[str, Any] | None = None,
    replace: bool = False,
    listener: Listener = null_listener,
) -> list[RelationSummary]:
    """Train one model per relation and write them to the folder ``out`` atomically.

    ``base`` is the identity of the base model that the extractor's likelihoods come from, and
    ``contributors`` are the players behind ``game``; the manifest records both. Raises DataError
    if a relation has too few pairs.
    """
    models: dict[str, RelationModel] = {}
    summaries: list[RelationSummary] = []
    for relation in sorted(lexicon):
        listener(Message(text=f"{relation}: training"))
        # Fit all variants, and keep the best kind.
        parts = split_pairs(lexicon, relation, game, config)
        found, probabilities = compare_variants(parts, extractor, seed=config.seed)
        chosen = choose_best_kind(found)
        models[relation] = found[chosen]
        # Report the metrics of all variants on the evaluation pairs.
        played = {example.word_pair for example in from_game(game, relation)}
        learned = (*parts.first_stage, *parts.last_stage)
        summaries.append(
            RelationSummary(
                relation=relation,
                chosen=chosen,
                pairs=len(learned),
                game_pairs=sum(example.word_pair in played for example in learned),
                judged={
                    name: compute_metrics(parts.test, p, seed=config.seed)
                    for name, p in probabilities.items()
                },
            )
        )
    # The folder appears under its name only when it is complete.
    with stage_folder(out, replace=replace) as stage:
        save_models(stage, models)
        Manifest.from_folder(
            stage,
            kind="classifier",
            base=base,
            task="word-relation",
            config={**to_plain(config), "scores": list(extractor.score_names), **(made_with or {})},
            contributors=tuple(contributors),
        ).save(stage)
    return summaries


def load_classifier(
    folder: Path, extractor: FeatureExtractor, *, base: str | None = None
) -> Classifier:
    """Read a classifier.

    Raises MissingError if there is none, IntegrityError if its files are damaged, and MismatchError
    if it was trained with another base model or with other scores than ``extractor`` computes.
    """
    manifest = Manifest.load(folder, "classifier")
    manifest.require_match(folder, base=base)
    # The models index scores by column, so names and order must match.
    if (trained_on := tuple(manifest.config.get("scores", ()))) != extractor.score_names:
        raise MismatchError(
            f"{folder}: it was trained on {', '.join(trained_on)}, "
            f"not on {', '.join(extractor.score_names)}"
        )
    return Classifier(models=load_models(folder), extractor=extractor)
