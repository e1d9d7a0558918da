"""``idiolect nyms``: export and analyze the word game's data, and train a classifier on it.

Calls ``web.game.commands`` directly: these functions read the site's database, and the site is on a
higher layer than ``api``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idiolect.cli.formatting import format_count
from idiolect.cli.options import PATH_TYPE, json_option
from idiolect.cli.output import print_json, print_table
from idiolect.cli.progress import progress_listener, redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from idiolect.web.game.commands import TrainSummary

_SITE_OPTION = click.option(
    "--data",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Folder of the site.  [default: IDIOLECT_HOME, or 'idiolect' in your data folder]",
)


@click.group("nyms")
def nyms_command() -> None:
    """Export and analyze the word game's data, and back it up.

    Works on the data of a site that `idiolect play` has started, whether the site is running or
    not.

    \b
    $ idiolect nyms export --out pairs.tsv --histories data/nyms
    $ idiolect nyms report
    $ idiolect nyms train-classifier
    $ idiolect nyms backup site.backup
    """


@nyms_command.command("export", cls=StrictCommand)
@_SITE_OPTION
@click.option(
    "--out", type=PATH_TYPE, metavar="FILE", help="Table of pairs to write: .tsv or .parquet."
)
@click.option(
    "--histories",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Dataset of the task word-relation to write.",
)
@click.option(
    "--least-players",
    type=click.IntRange(3),
    default=3,
    show_default=True,
    help="Leave out answers that fewer players gave; they may reveal a player. The game's notice "
    "promises at least 3.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@json_option
def export_pairs(
    data: Path | None,
    out: Path | None,
    histories: Path | None,
    least_players: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Export the answers of all rounds, without players' names.

    Each row of the table is a base word and an answer: the number of players who gave it and of
    players who were asked, its share of the rounds, whether WordNet contains it, the votes in Nym
    or Not, and the agreement with its 95% interval.

    Histories contain the answers of each player, under random pseudonyms that are new in each
    export, with times cut to the day. A reader who knows how a person plays may still recognize
    them.

    Neither contains an answer that fewer players gave than --least-players says (guests count as
    players), or one that a moderator hid.

    \b
    $ idiolect nyms export --out pairs.tsv
    $ idiolect nyms export --out pairs.parquet --histories data/nyms
    """
    from idiolect.web.game import commands

    if out is None and histories is None:
        raise click.UsageError("nothing to write: give --out, --histories, or both")
    found = commands.export_plays(
        data, pairs=out, histories=histories, least_players=least_players, overwrite=overwrite
    )
    if as_json:
        print_json(found)
        return
    if out is not None:
        click.echo(f"{format_count(found.rows, 'pair')}: {out}")
    if histories is not None:
        click.echo(f"{format_count(found.players, 'history', 'histories')}: {histories}")


@nyms_command.command("report", cls=StrictCommand)
@_SITE_OPTION
@click.option(
    "--out",
    type=PATH_TYPE,
    metavar="FILE",
    help="Also write the full report to this file, as JSON.",
)
@json_option
def report_agreement(data: Path | None, out: Path | None, as_json: bool) -> None:
    """Report how far players agree and how often their answers are correct.

    Agreement is Krippendorff's alpha with a 95% interval: 1 if all players agree, 0 if the answers
    are unrelated to the word. An answer is correct if WordNet lists it or if most voters in Nym or
    Not confirmed it.

    \b
    $ idiolect nyms report --out report.json
    """
    from idiolect.web.game import commands

    with redirect_stdout_to_stderr():
        found = commands.report_plays(data, out)
    if as_json:
        print_json(found)
    else:
        _print_report(found)


def _print_report(found: Mapping[str, Any]) -> None:
    """Print the counts, a table of agreement per relation, and a table of precision."""
    played = (
        (found["players"], "player"),
        (found["rounds"], "round"),
        (found["votes"], "vote"),
    )
    click.echo(", ".join(format_count(number, one) for number, one in played))
    # One row per relation.
    rows = [
        (name, str(a["words"]), str(a["players"]), _format_alpha(a))
        for name, a in found["agreement"].items()
    ]
    print_table(
        ("agreement", "words", "players", "alpha (95% interval)"),
        rows,
        title="Agreement between players",
        numbers=(1, 2, 3),
    )
    # One row per number of players who gave the same answer.
    rows = [
        (
            _format_range(p["least"], p.get("most")),
            str(p["pairs"]),
            _format_share(p["in_wordnet"], p["pairs"], p["in_wordnet_interval"]),
            _format_share(p["confirmed"], p["voted"], p["confirmed_interval"]),
        )
        for p in found["precision"]["all"]
    ]
    print_table(
        ("given by", "pairs", "in WordNet", "confirmed, of pairs with votes"),
        rows,
        title="Correct answers",
        numbers=(1, 2, 3),
    )


def _format_alpha(found: Mapping[str, Any]) -> str:
    """Return e.g. ``0.62 (0.50–0.71)``, or a dash if there are too few answers."""
    if "alpha" not in found:
        return "–"
    low, high = found.get("interval") or (None, None)
    return f"{found['alpha']:.2f}" + (f" ({low:.2f}–{high:.2f})" if low is not None else "")


def _format_range(least: int, most: int | None) -> str:
    """Return e.g. ``2–3 players``; ``most`` is ``None`` for a range without an upper end."""
    if most == least:
        return format_count(least, "player")
    return f"{least} or more" if most is None else f"{least}–{most} players"


def _format_share(part: int, whole: int, interval: tuple[float, float]) -> str:
    """Return e.g. ``40% (30–51)``, or a dash if ``whole`` is 0."""
    if not whole:
        return "–"
    low, high = (round(100 * end) for end in interval)
    return f"{100 * part / whole:.0f}% ({low}–{high})"


@nyms_command.command("backup", cls=StrictCommand)
@_SITE_OPTION
@click.argument("out", type=PATH_TYPE, metavar="FILE")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def back_up_site(data: Path | None, out: Path, overwrite: bool) -> None:
    """Back up the site's SQLite database to FILE, also while the site runs.

    A copy of the database's file alone may lack all recent changes, which SQLite keeps in a log
    next to it. FILE is complete. To restore it, stop the site, delete site.sqlite3,
    site.sqlite3-wal and site.sqlite3-shm in the site's folder, and copy FILE to site.sqlite3.

    FILE still holds the people who delete themselves later: delete old backups. Back up
    PostgreSQL with pg_dump.

    \b
    $ idiolect nyms backup site-monday.sqlite3
    """
    from idiolect.web.game import commands

    commands.back_up_site(data, out, overwrite=overwrite)
    click.echo(f"wrote {out}")


@nyms_command.command("train-classifier", cls=StrictCommand)
@_SITE_OPTION
@click.option(
    "--pairs",
    type=PATH_TYPE,
    metavar="FILE",
    help="Table of pairs to train on, in addition to WordNet.",
)
@click.option(
    "--out",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Folder for the classifier.  [default: a folder of the site]",
)
@click.option(
    "--no-site", is_flag=True, help="Do not read the site's answers or write its predictions."
)
@click.option(
    "--base",
    default="default",
    show_default=True,
    help="Base model whose likelihoods are features.",
)
@click.option("--no-likelihood", is_flag=True, help="Use no base model: faster, less accurate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@json_option
def train_classifier(
    data: Path | None,
    pairs: Path | None,
    out: Path | None,
    no_site: bool,
    base: str,
    no_likelihood: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Train a classifier of word relations.

    The classifier labels pairs of words as kinds, parts, synonyms, or opposites. It is trained on
    WordNet's pairs and on players' answers, and evaluated on base words that were not trained on.
    The pairs that it predicts go into the site's folder; Nym or Not asks players about them.

    \b
    $ idiolect nyms train-classifier
    $ idiolect nyms train-classifier --no-site --pairs pairs.tsv --out classifier
    """
    from idiolect.game.classifier.train import ClassifierConfig
    from idiolect.web.game import commands

    # Progress and library output go to stderr, so stdout holds only the result.
    config = ClassifierConfig(likelihood=not no_likelihood, seed=seed)
    with redirect_stdout_to_stderr(), progress_listener() as listener:
        found = commands.train_classifier(
            data,
            pairs=pairs,
            out=out,
            base=base,
            config=config,
            site=not no_site,
            listener=listener,
        )
    if as_json:
        print_json(found)
    else:
        _print_training(found)


def _print_training(found: TrainSummary) -> None:
    """Print a table of the held-out accuracy per relation, and the paths."""
    # The cosine of the embeddings alone is the baseline for the chosen kind of classifier.
    rows = [
        (
            summary.relation,
            summary.chosen,
            f"{summary.pairs:,}",
            f"{summary.game_pairs:,}",
            str(summary.judged["cosine alone"].auc),
            str(summary.judged[summary.chosen].auc),
            str(summary.judged[summary.chosen].accuracy),
        )
        for summary in found.relations
    ]
    headings = ("relation", "kind", "pairs", "played", "AUC of cosine", "AUC", "accuracy")
    print_table(headings, rows, title="On held-out base words", numbers=(2, 3, 4, 5, 6))
    click.echo(f"wrote the classifier to {found.out}")
    if found.predictions is not None:
        click.echo(f"{format_count(found.predicted, 'pair')} for Nym or Not: {found.predictions}")
