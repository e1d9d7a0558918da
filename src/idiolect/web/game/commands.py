"""The verbs of `idiolect nyms`: data out of a site, a classifier of what it and WordNet know.

Paths in, plain values out. Stands here and not in `api`, since the site stands above that floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.errors import UsageError
from idiolect.events import Listener, silent
from idiolect.game import words
from idiolect.game.export.files import read_pairs, write_pairs
from idiolect.game.export.histories import build_histories
from idiolect.game.export.pairs import MIN_PLAYERS, Lexicon, PairRow, build_pair_rows
from idiolect.game.export.report import build_report as report_of
from idiolect.game.predictions import CLASSIFIER_FOLDER, PREDICTIONS_FILE, write_predictions
from idiolect.game.rules.relations import Relation
from idiolect.history.write import write_dataset
from idiolect.storage.files import write_atomic

if TYPE_CHECKING:
    from idiolect.game.classifier.train import ClassifierConfig, RelationSummary


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written."""

    pairs: Path | None
    rows: int
    histories: Path | None
    players: int
    """Whose histories were written."""


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """What training the classifier gave."""

    out: Path
    relations: Sequence[RelationSummary]
    predictions: Path | None
    predicted: int


def get_wordnet_stems() -> Lexicon:
    """From (relation, base word) to the stems that the game's table lists."""
    table = words.load_table()
    return lambda relation, base_word: table.get_stems(Relation(relation), base_word)


def export_plays(
    data: Path | None,
    *,
    pairs: Path | None = None,
    histories: Path | None = None,
    least_players: int = MIN_PLAYERS,
    overwrite: bool = False,
) -> ExportSummary:
    """Write the table of pairs, and everyone's history under a pseudonym, out of a site.

    Raises UsageError where nothing is to be written, MissingError where there is no site.
    """
    from idiolect.web.game.export_reader import open_site, read_plays

    if pairs is None and histories is None:
        raise UsageError("say what to write: a table of pairs, a dataset of histories, or both")
    open_site(data)
    plays = read_plays()
    rows = build_pair_rows(plays, get_wordnet_stems(), least_players=least_players)
    if pairs is not None:
        write_pairs(pairs, rows)
    made = build_histories(plays.rounds, words.load_table().get_determiner) if histories else []
    if histories is not None:
        write_dataset(
            histories, made, task="word-relation", source="the word game", overwrite=overwrite
        )
    return ExportSummary(pairs=pairs, rows=len(rows), histories=histories, players=len(made))


def report_plays(data: Path | None, out: Path | None = None) -> dict[str, Any]:
    """How much was played, how far players agree, how often answers are right; gives the report.

    ``out``: a file to write it to as JSON.
    """
    import json

    from idiolect.web.game.export_reader import open_site, read_plays

    open_site(data)
    found = report_of(read_plays(), get_wordnet_stems())
    if out is not None:
        write_atomic(out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return found


def train_classifier(
    data: Path | None,
    *,
    pairs: Path | None = None,
    out: Path | None = None,
    base: str = "default",
    config: ClassifierConfig | None = None,
    site: bool = True,
    listener: Listener = silent,
) -> TrainSummary:
    """Train the classifier of word relations on WordNet and on what was played.

    With ``site`` its players' pairs are learnt from, and what it predicts goes into the site's
    folder, where Nym or Not finds it; without, only the table ``pairs`` is added to WordNet, and
    ``out`` must be named. Raises UsageError where it is not.
    """
    from idiolect.game.classifier.examples import build_lexicon
    from idiolect.game.classifier.features import FeatureExtractor
    from idiolect.game.classifier.likelihood import SCORE_NAMES, LikelihoodScorer
    from idiolect.game.classifier.suggest import suggest_pairs
    from idiolect.game.classifier.train import ClassifierConfig, load_classifier
    from idiolect.game.classifier.train import train_classifier as train
    from idiolect.models.base import load_base
    from idiolect.models.encoder import MiniLM

    config = config or ClassifierConfig()
    rows: list[PairRow] = read_pairs(pairs) if pairs else []
    home, players = None, ()
    if site:
        from idiolect.web.game.export_reader import open_site, read_plays

        home = open_site(data)
        plays = read_plays()
        rows += build_pair_rows(plays, get_wordnet_stems())
        players = plays.players
    if out is None and home is None:
        raise UsageError("name the folder for the classifier: --out FOLDER")
    target = out or (home or Path()) / CLASSIFIER_FOLDER
    lexicon = build_lexicon(words.load_table())
    loaded = load_base(base) if config.likelihood else None
    scorer = LikelihoodScorer(loaded, listener=listener) if loaded else None
    describe = FeatureExtractor(MiniLM(), scorer, SCORE_NAMES if scorer else ())
    identity = loaded.identity if loaded else None
    summaries = train(
        lexicon,
        target,
        describe,
        config,
        game=rows,
        base=identity,
        contributors=players,
        replace=True,
        listener=listener,
    )
    if home is None:
        return TrainSummary(out=target, relations=summaries, predictions=None, predicted=0)
    found = suggest_pairs(load_classifier(target, describe, base=identity), lexicon, rows)
    write_predictions(home / PREDICTIONS_FILE, found)
    return TrainSummary(
        out=target, relations=summaries, predictions=home / PREDICTIONS_FILE, predicted=len(found)
    )
