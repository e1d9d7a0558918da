"""The whole classifier: examples, numbers, a model a relation, judged on words it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.config import to_plain
from idiolect.errors import MismatchError
from idiolect.events import Listener, Note, silent
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
from idiolect.storage.files import staged_folder
from idiolect.storage.manifest import Manifest

LAST_STAGE_PERCENT, TEST_PERCENT = 20, 20
"""Percent of the base words that the last stage learns from, and that are only for judging."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """How the classifier of word relations is trained."""

    pairs: int = 4000
    """True pairs of WordNet for the vectors' stage of a relation; as many false ones come beside
    them. These cost seconds."""
    scored: int = 300
    """True pairs, and as many false ones, for the last stage and again for judging. The base model
    reads each of these."""
    pairs_of_a_word: int = 4
    """At most so many of one base word: many words teach more than many pairs of a few."""
    likelihood: bool = True
    """Whether the base model's own likelihood is among the scores."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSplit:
    """Pairs in three parts that share no base word."""

    many: tuple[Example, ...]
    apart: tuple[Example, ...]
    test: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model a relation, and what makes its numbers."""

    models: Mapping[str, RelationModel]
    describe: FeatureExtractor

    def predict_proba(self, pairs: Sequence[Example]) -> list[float]:
        """The probability of each pair, in order. Raises MismatchError for an unknown relation."""
        chances = [0.0] * len(pairs)
        for relation in sorted({pair.relation for pair in pairs}):
            if relation not in self.models:
                known = ", ".join(sorted(self.models))
                raise MismatchError(f"the classifier knows no {relation}; it knows {known}")
            rows = [n for n, pair in enumerate(pairs) if pair.relation == relation]
            numbers = FeatureMatrix.from_pairs([pairs[n] for n in rows], self.describe)
            found = self.models[relation].predict_proba(numbers.vectors, numbers.scores)
            for n, chance in zip(rows, found.tolist(), strict=True):
                chances[n] = chance
        return chances


@dataclass(frozen=True, kw_only=True)
class RelationSummary:
    """What training gave for one relation."""

    relation: str
    chosen: Kind
    pairs: int
    """Learnt from, in both stages."""
    game_pairs: int
    """Those of them that come from the game."""
    judged: Mapping[str, ClassifierMetrics]
    """By way of classifying, on pairs of words that are only for judging."""


def assign_part(word: str, seed: int) -> str:
    """Which part a base word's pairs belong to, the same whatever other words there are."""
    place = assign_bucket(word, seed)
    return (
        "apart"
        if place < LAST_STAGE_PERCENT
        else "test"
        if place < LAST_STAGE_PERCENT + TEST_PERCENT
        else "many"
    )


def split_pairs(
    lexicon: Lexicon, relation: str, game: Sequence[PairRow], config: ClassifierConfig
) -> DataSplit:
    """The pairs of a relation, true and false, in three parts that share no base word."""
    known = KnownPairs(
        lexicon, (row for row in game if row.players or row.confirmed > row.rejected)
    )
    played = from_game(game, relation)
    seen = {example.word_pair for example in played}
    drawn = from_lexicon(lexicon, relation, a_word=config.pairs_of_a_word, seed=config.seed)
    room = {"many": config.pairs, "apart": config.scored, "test": config.scored}
    true = [example for example in played if example.related]
    for example in drawn:
        part = assign_part(example.base_word, config.seed)
        if room[part] > 0 and example.word_pair not in seen:
            room[part] -= 1
            true.append(example)
    pairs = add_false_pairs(
        true, known, lexicon, seed=config.seed, part=lambda word: assign_part(word, config.seed)
    )
    pairs += [example for example in played if not example.related]
    by_part: dict[str, list[Example]] = {"many": [], "apart": [], "test": []}
    for example in pairs:
        by_part[assign_part(example.base_word, config.seed)].append(example)
    return DataSplit(**{name: tuple(found) for name, found in by_part.items()})


def list_variants(names: Sequence[str]) -> dict[str, tuple[Kind, tuple[int, ...]]]:
    """Every way to classify that is compared, by name: the majority, each score alone, all scores,
    the vectors alone, and all of it."""
    every = tuple(range(len(names)))
    found: dict[str, tuple[Kind, tuple[int, ...]]] = {"majority": ("scores", ())}
    found |= {f"{name} alone": ("scores", (n,)) for n, name in enumerate(names)}
    found |= {"scores": ("scores", every)} if len(names) > 1 else {}
    found |= {"vectors": ("logistic", ()), "logistic": ("logistic", every), "mlp": ("mlp", every)}
    return found


def compare_variants(
    parts: DataSplit, describe: FeatureExtractor, *, seed: int
) -> tuple[dict[str, RelationModel], dict[str, Doubles]]:
    """Each way's model, and its probabilities on ``parts.test``."""
    many = FeatureMatrix.from_pairs(parts.many, describe, scored=False)
    apart, test = (FeatureMatrix.from_pairs(part, describe) for part in (parts.apart, parts.test))
    fitter = StageFitter(many, apart, seed=seed)
    models = {name: fitter.fit(*way) for name, way in list_variants(describe.score_names).items()}
    return models, {n: m.predict_proba(test.vectors, test.scores) for n, m in models.items()}


def choose_best_kind(models: Mapping[str, RelationModel]) -> Kind:
    """The kind that fits the words of the last stage best; the words for judging have no say."""
    kinds: tuple[Kind, ...] = ("scores", "logistic", "mlp")
    return min((k for k in kinds if k in models), key=lambda kind: models[kind].loss)


def train_classifier(
    lexicon: Lexicon,
    out: Path,
    describe: FeatureExtractor,
    config: ClassifierConfig,
    *,
    game: Sequence[PairRow] = (),
    base: str | None = None,
    contributors: Sequence[str] = (),
    made_with: Mapping[str, Any] | None = None,
    replace: bool = False,
    listener: Listener = silent,
) -> list[RelationSummary]:
    """Train a model a relation and write them to the folder ``out``, whole or not at all.

    ``base`` is the identity of the base model whose likelihoods are among the scores,
    ``contributors`` are the players behind ``game``; the manifest names both.
    """
    models: dict[str, RelationModel] = {}
    summaries: list[RelationSummary] = []
    for relation in sorted(lexicon):
        listener(Note(text=f"{relation}: learning"))
        parts = split_pairs(lexicon, relation, game, config)
        found, chances = compare_variants(parts, describe, seed=config.seed)
        chosen = choose_best_kind(found)
        models[relation] = found[chosen]
        played = {example.word_pair for example in from_game(game, relation)}
        learnt = (*parts.many, *parts.apart)
        summaries.append(
            RelationSummary(
                relation=relation,
                chosen=chosen,
                pairs=len(learnt),
                game_pairs=sum(example.word_pair in played for example in learnt),
                judged={
                    name: compute_metrics(parts.test, p, seed=config.seed)
                    for name, p in chances.items()
                },
            )
        )
    with staged_folder(out, replace=replace) as stage:
        save_models(stage, models)
        Manifest.of_folder(
            stage,
            kind="classifier",
            base=base,
            task="word-relation",
            config={**to_plain(config), "scores": list(describe.score_names), **(made_with or {})},
            contributors=tuple(contributors),
        ).save(stage)
    return summaries


def load_classifier(
    folder: Path, describe: FeatureExtractor, *, base: str | None = None
) -> Classifier:
    """Read a classifier. Raises MissingError, IntegrityError, and MismatchError where it was made
    for another base or other scores than ``describe`` makes."""
    manifest = Manifest.load(folder, "classifier")
    manifest.require(folder, base=base)
    if (made := tuple(manifest.config.get("scores", ()))) != describe.score_names:
        raise MismatchError(
            f"{folder}: it was trained on {', '.join(made)}, "
            f"not on {', '.join(describe.score_names)}"
        )
    return Classifier(models=load_models(folder), describe=describe)
