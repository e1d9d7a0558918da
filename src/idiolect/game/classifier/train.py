"""The whole classifier: examples, features, a model a relation, judged on words it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.config import to_plain
from idiolect.errors import MismatchError
from idiolect.events import Listener, Note, silent
from idiolect.game.classifier.examples import (
    Example,
    Known,
    Lexicon,
    from_game,
    from_lexicon,
    side,
    with_false_pairs,
)
from idiolect.game.classifier.features import Describer, Features
from idiolect.game.classifier.fit import fit
from idiolect.game.classifier.judge import Judged, judged
from idiolect.game.classifier.model import (
    Doubles,
    Kind,
    RelationModel,
    load_models,
    save_models,
)
from idiolect.game.data.pairs import PairRow
from idiolect.storage import Manifest, staged_folder

TEST = 20
"""Percent of the base words that are only for judging."""
KINDS: tuple[Kind, ...] = ("majority", "logistic", "mlp")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """How the classifier of word relations is trained."""

    pairs: int = 800
    """WordNet's true pairs of a relation that are drawn; as many false ones come beside them. The
    base model reads each: twice as many take twice as long, and gained less than 0.01 AUC."""
    pairs_of_a_word: int = 4
    """At most so many of them of one base word: many words teach more than many pairs of a few."""
    likelihood: bool = True
    """Whether the base model's own likelihood is among the features."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model a relation, and what makes their features."""

    models: Mapping[str, RelationModel]
    describer: Describer

    def probabilities(self, pairs: Sequence[Example]) -> list[float]:
        """The probability of each pair, in order. Raises MismatchError for an unknown relation."""
        chances = [0.0] * len(pairs)
        for relation in sorted({pair.relation for pair in pairs}):
            if relation not in self.models:
                known = ", ".join(sorted(self.models))
                raise MismatchError(f"the classifier knows no {relation}; it knows {known}")
            rows = [n for n, pair in enumerate(pairs) if pair.relation == relation]
            features = self.describer([pairs[n] for n in rows])
            found = self.models[relation].probabilities(features)
            for n, chance in zip(rows, found.tolist(), strict=True):
                chances[n] = chance
        return chances


@dataclass(frozen=True, kw_only=True)
class RelationSummary:
    """What training gave for one relation."""

    relation: str
    chosen: Kind
    train_pairs: int
    game_pairs: int
    """Those of them that come from the game."""
    judged: Mapping[str, Judged] = field(default_factory=dict[str, Judged])
    """By kind of model, and by single feature, on pairs of words that are only for judging."""


def split_examples(
    lexicon: Lexicon, relation: str, game: Sequence[PairRow], config: ClassifierConfig
) -> tuple[list[Example], list[Example]]:
    """Pairs to learn from and pairs to be judged on; no base word is on both sides."""
    known = Known(lexicon, (row for row in game if row.players or row.confirmed > row.rejected))
    true = from_lexicon(
        lexicon, relation, most=config.pairs, a_word=config.pairs_of_a_word, seed=config.seed
    )
    played = from_game(game, relation)
    seen = {(e.base_word, e.answer) for e in played}
    true = [e for e in true if (e.base_word, e.answer) not in seen]
    true += [e for e in played if e.related]

    def part(word: str) -> int:
        return int(side(word, config.seed + 1) < TEST)

    pairs = with_false_pairs(true, known, lexicon, seed=config.seed, part=part)
    pairs += [e for e in played if not e.related]
    return [e for e in pairs if not part(e.base_word)], [e for e in pairs if part(e.base_word)]


def fit_and_judge(
    train: Sequence[Example],
    test: Sequence[Example],
    describe: Describer,
    *,
    seed: int,
    singles: Sequence[str] = (),
) -> tuple[dict[str, RelationModel], dict[str, Judged], dict[str, Doubles]]:
    """Every kind of model, and each single feature's, by name: the model, its figures on ``test``,
    and its probabilities there."""
    learnt, asked = describe(train), describe(test)
    views: dict[str, tuple[Kind, Features, Features]] = {
        name: ("logistic", learnt.only(name), asked.only(name)) for name in singles
    }
    views |= {kind: (kind, learnt, asked) for kind in KINDS}
    models = {name: fit(train, x, kind, seed=seed) for name, (kind, x, _) in views.items()}
    chances = {name: models[name].probabilities(x) for name, (_, _, x) in views.items()}
    return models, {n: judged(test, p, seed=seed) for n, p in chances.items()}, chances


def train_classifier(
    lexicon: Lexicon,
    out: Path,
    describe: Describer,
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

    Of logistic regression and the MLP the one is kept that fits the words which calibrated it
    better; the words for judging have no say. ``base`` is the identity of the base model whose
    likelihoods are among the features, ``contributors`` are the players behind ``game``.
    """
    models: dict[str, RelationModel] = {}
    summaries: list[RelationSummary] = []
    for relation in sorted(lexicon):
        listener(Note(text=f"{relation}: examples and features"))
        train, test = split_examples(lexicon, relation, game, config)
        singles = describe.names
        found, figures, _ = fit_and_judge(train, test, describe, seed=config.seed, singles=singles)
        chosen: Kind = min(("logistic", "mlp"), key=lambda kind: found[kind].loss)
        models[relation] = found[chosen]
        played = {(e.base_word, e.answer) for e in from_game(game, relation)}
        summaries.append(
            RelationSummary(
                relation=relation,
                chosen=chosen,
                train_pairs=len(train),
                game_pairs=sum((e.base_word, e.answer) in played for e in train),
                judged=figures,
            )
        )
    with staged_folder(out, replace=replace) as stage:
        save_models(stage, models)
        Manifest.of_folder(
            stage,
            kind="classifier",
            base=base,
            task="word-relation",
            config={**to_plain(config), "features": list(describe.names), **(made_with or {})},
            contributors=tuple(contributors),
        ).save(stage)
    return summaries


def load_classifier(folder: Path, describe: Describer, *, base: str | None = None) -> Classifier:
    """Read a classifier. Raises MissingError, IntegrityError, and MismatchError where it was made
    for another base or other features than ``describe`` makes."""
    manifest = Manifest.load(folder, "classifier")
    manifest.require(folder, base=base)
    if (made := tuple(manifest.config.get("features", ()))) != describe.names:
        raise MismatchError(
            f"{folder}: it was trained on {', '.join(made)}, not on {', '.join(describe.names)}"
        )
    return Classifier(models=load_models(folder), describer=describe)
