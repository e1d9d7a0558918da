"""The functions behind `idiolect nyms`: export plays, report on them, train, back up.

They take paths and return plain values. They are here and not in `idiolect.api` because they read
the site's database, and the site is on a higher layer than `api`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener
from idiolect.game import words
from idiolect.game.export.files import read_pairs, write_pairs
from idiolect.game.export.histories import build_histories
from idiolect.game.export.pairs import MIN_PLAYERS, Lexicon, PairRow, build_pair_rows
from idiolect.game.export.report import build_report
from idiolect.game.predictions import CLASSIFIER_FOLDER, PREDICTIONS_FILE, write_predictions
from idiolect.game.rules.relations import Relation
from idiolect.history.write import write_dataset
from idiolect.storage.files import write_atomic

if TYPE_CHECKING:
    from idiolect.game.classifier.train import ClassifierConfig, RelationSummary
    from idiolect.history.history import History


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """The files that an export wrote."""

    pairs: Path | None
    rows: int
    histories: Path | None
    players: int
    """Number of players whose histories were written."""


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """The result of training the classifier."""

    out: Path
    relations: Sequence[RelationSummary]
    predictions: Path | None
    predicted: int


def get_wordnet_stems() -> Lexicon:
    """Return a function from (relation, base word) to the stems that WordNet lists for it."""
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
    """Export a site's plays as a table of pairs, as pseudonymous histories, or as both.

    Both leave out answers that fewer than ``least_players`` players gave, and those that a
    moderator hid. Raises UsageError if neither ``pairs`` nor ``histories`` is given or if
    ``least_players`` is less than the notice promises, and MissingError if ``data`` holds no site.
    """
    from idiolect.web.game.export_reader import leave_out_hidden, open_site, read_plays

    if pairs is None and histories is None:
        raise UsageError(
            "nothing to export; name a file for the table of pairs, "
            "a folder for the histories, or both"
        )
    if least_players < MIN_PLAYERS:
        raise UsageError(
            f"--least-players {least_players}: the game's notice promises its players at least "
            f"{MIN_PLAYERS}"
        )
    open_site(data)
    plays = leave_out_hidden(read_plays())
    # Privacy: no answer is published that fewer than `least_players` players gave.
    rows = build_pair_rows(plays, get_wordnet_stems(), least_players=least_players)
    if pairs is not None:
        write_pairs(pairs, rows)
    # Each history gets a random pseudonym in place of the player's name.
    built: list[History] = []
    if histories is not None:
        built = build_histories(
            plays.rounds, words.load_table().get_determiner, least_players=least_players
        )
        write_dataset(
            histories, built, task="word-relation", source="the word game", overwrite=overwrite
        )
    return ExportSummary(pairs=pairs, rows=len(rows), histories=histories, players=len(built))


def back_up_site(data: Path | None, out: Path, *, overwrite: bool = False) -> None:
    """Write a complete copy of a site's SQLite database to the file ``out``.

    Raises UsageError if ``out`` exists and ``overwrite`` is not given, or if the database is
    PostgreSQL; MissingError if ``data`` holds no site.
    """
    from idiolect.web.game.export_reader import open_site

    open_site(data)
    from idiolect.web.database.backup import back_up_database

    back_up_database(out, overwrite=overwrite)


def report_plays(data: Path | None, out: Path | None = None) -> dict[str, Any]:
    """Report the number of plays, the agreement between players, and the precision of answers.

    Returns the report, and writes it as JSON to ``out`` if that is given.
    """
    import json

    from idiolect.web.game.export_reader import open_site, read_plays

    open_site(data)
    report = build_report(read_plays(), get_wordnet_stems())
    if out is not None:
        write_atomic(out, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def train_classifier(
    data: Path | None,
    *,
    pairs: Path | None = None,
    out: Path | None = None,
    base: str = "default",
    config: ClassifierConfig | None = None,
    site: bool = True,
    listener: Listener = null_listener,
) -> TrainSummary:
    """Train the classifier of word relations on WordNet and on players' answers.

    With ``site``, the training data includes the pairs that the site's players gave, and the
    classifier's predictions go into the site's folder, from which Nym or Not reads them. Without
    ``site``, the training data is WordNet and the table ``pairs``, and ``out`` is required: raises
    UsageError if it is missing.
    """
    from idiolect.game.classifier.examples import build_lexicon
    from idiolect.game.classifier.features import FeatureExtractor
    from idiolect.game.classifier.likelihood import SCORE_NAMES, LikelihoodScorer
    from idiolect.game.classifier.suggest import suggest_pairs
    from idiolect.game.classifier.train import ClassifierConfig, load_classifier
    from idiolect.game.classifier.train import train_classifier as train
    from idiolect.models.encoder import MiniLM
    from idiolect.models.load import load_base

    config = config or ClassifierConfig()
    # Collect the pairs to learn from: an exported table, the site's own plays, or both.
    rows: list[PairRow] = read_pairs(pairs) if pairs else []
    home, players = None, ()
    if site:
        from idiolect.web.game.export_reader import open_site, read_plays

        home = open_site(data)
        plays = read_plays()
        rows += build_pair_rows(plays, get_wordnet_stems())
        players = plays.players
    # Without a site there is no default folder for the classifier.
    if out is None and home is None:
        raise UsageError("name the folder for the classifier: --out FOLDER")
    target = out or (home or Path()) / CLASSIFIER_FOLDER

    # Features are sentence embeddings and, if the config asks for it, the base model's likelihoods.
    lexicon = build_lexicon(words.load_table())
    loaded = load_base(base) if config.likelihood else None
    scorer = LikelihoodScorer(loaded, listener=listener) if loaded else None
    extractor = FeatureExtractor(MiniLM(), scorer, SCORE_NAMES if scorer else ())
    identity = loaded.identity if loaded else None

    # The players are named as contributors, so that erasing one of them deletes the classifier.
    summaries = train(
        lexicon,
        target,
        extractor,
        config,
        game=rows,
        base=identity,
        contributors=players,
        replace=True,
        listener=listener,
    )
    if home is None:
        return TrainSummary(out=target, relations=summaries, predictions=None, predicted=0)

    # The site asks its players about the pairs that the classifier suggests.
    suggested = suggest_pairs(load_classifier(target, extractor, base=identity), lexicon, rows)
    predictions = home / PREDICTIONS_FILE
    write_predictions(predictions, suggested)
    # A player who left before the classifier was written could not delete it.
    from idiolect.web.accounts import personal_data

    personal_data.remove_orphans()
    if not target.exists():
        raise UsageError(
            "a player left the site during the training, so the classifier is deleted; train again"
        )
    return TrainSummary(
        out=target, relations=summaries, predictions=predictions, predicted=len(suggested)
    )
