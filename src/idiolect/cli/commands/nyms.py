"""``idiolect nyms``: data out of the word game, and a classifier of word relations.

Calls the game's own verbs: the game stands above the floor of ``api``.
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

if TYPE_CHECKING:
    from idiolect.web.game.commands import TrainSummary

_SITE_OPTION = click.option(
    "--data",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="The site's folder; else IDIOLECT_HOME, else a folder 'idiolect' in your data folder.",
)


@click.group("nyms")
def command() -> None:
    """Data out of the word game: pairs, histories, a classifier.

    Works on a site that was started with `idiolect play`, whether it runs or not.

    \b
    $ idiolect nyms export --out pairs.tsv --histories data/nyms
    $ idiolect nyms report
    $ idiolect nyms train-classifier
    """


@command.command("export")
@_SITE_OPTION
@click.option("--out", type=PATH_TYPE, metavar="FILE", help="The table of pairs: .tsv or .parquet.")
@click.option(
    "--histories",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="A dataset of the task word-relation to make.",
)
@click.option(
    "--least-players",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Leave out answers that fewer players gave: such an answer may be about somebody.",
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset at --histories.")
@json_option
def export_pairs(
    data: Path | None,
    out: Path | None,
    histories: Path | None,
    least_players: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write what was played, without names.

    A row of the table is a base word and an answer: how many players gave it and of how many, its
    share of the rounds, whether WordNet has it, votes from Nym or Not, agreement with its 95%
    interval. Histories hold all that each player answered, under pseudonyms drawn for this export
    alone and with times cut to the day; whoever knows how somebody plays may still know them in it.

    \b
    $ idiolect nyms export --out pairs.tsv
    $ idiolect nyms export --out pairs.parquet --histories data/nyms
    """
    from idiolect.web.game import commands

    if out is None and histories is None:
        raise click.UsageError("say with --out, --histories or both what to write")
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


@command.command("report")
@_SITE_OPTION
@click.option("--out", type=PATH_TYPE, metavar="FILE", help="Write the whole report as JSON.")
@json_option
def report_agreement(data: Path | None, out: Path | None, as_json: bool) -> None:
    """Say how far players agree, and how often answers are right.

    Agreement is Krippendorff's alpha with a 95% interval: 1 where all agree, 0 where answers have
    nothing to do with the word. Right is what WordNet lists or, in Nym or Not, most players
    confirmed.

    \b
    $ idiolect nyms report --out report.json
    """
    from idiolect.web.game import commands

    with redirect_stdout_to_stderr():
        found = commands.report_plays(data, out)
    if as_json:
        print_json(found)
    else:
        _show_report(found)


def _show_report(found: Mapping[str, Any]) -> None:
    played = (
        (found["players"], "player"),
        (found["rounds"], "round"),
        (found["votes"], "vote"),
    )
    click.echo(", ".join(format_count(number, one) for number, one in played))
    rows = [
        (name, str(a["words"]), str(a["players"]), _format_alpha(a))
        for name, a in found["agreement"].items()
    ]
    print_table(
        ("agreement", "words", "players", "alpha (95% interval)"),
        rows,
        title="How far players agree",
        numbers=(1, 2, 3),
    )
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
        ("given by", "pairs", "in WordNet", "confirmed of those voted on"),
        rows,
        title="How often answers are right",
        numbers=(1, 2, 3),
    )


def _format_alpha(found: Mapping[str, Any]) -> str:
    if "alpha" not in found:
        return "–"
    low, high = found.get("interval") or (None, None)
    return f"{found['alpha']:.2f}" + (f" ({low:.2f}–{high:.2f})" if low is not None else "")


def _format_range(least: int, most: int | None) -> str:
    if most == least:
        return format_count(least, "player")
    return f"{least} and more" if most is None else f"{least}–{most} players"


def _format_share(part: int, whole: int, interval: tuple[float, float]) -> str:
    if not whole:
        return "–"
    low, high = (round(100 * end) for end in interval)
    return f"{100 * part / whole:.0f}% ({low}–{high})"


@command.command("train-classifier")
@_SITE_OPTION
@click.option(
    "--pairs",
    type=PATH_TYPE,
    metavar="FILE",
    help="A table of pairs to learn from besides WordNet.",
)
@click.option(
    "--out",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="The classifier's folder; else one in the site's.",
)
@click.option("--no-site", is_flag=True, help="Leave the site's own plays and predictions alone.")
@click.option("--base", default="default", show_default=True, help="The model that is asked, too.")
@click.option("--no-likelihood", is_flag=True, help="Do not ask a base model: faster, less sure.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws pairs and weights.")
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
    """Teach a classifier which words are another's kinds, parts, synonyms, opposites.

    It learns from WordNet's pairs and from what was played, is judged on base words it never saw,
    and predicts pairs for Nym or Not to ask, in the site's folder.

    \b
    $ idiolect nyms train-classifier
    $ idiolect nyms train-classifier --no-site --pairs pairs.tsv --out classifier
    """
    from idiolect.game.classifier.train import ClassifierConfig
    from idiolect.web.game import commands

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
        _show_training(found)


def _show_training(found: TrainSummary) -> None:
    rows = [
        (
            one.relation,
            one.chosen,
            f"{one.pairs:,}",
            f"{one.game_pairs:,}",
            str(one.judged["cosine alone"].auc),
            str(one.judged[one.chosen].auc),
            str(one.judged[one.chosen].accuracy),
        )
        for one in found.relations
    ]
    headings = ("relation", "kind", "pairs", "played", "AUC of the cosine", "AUC", "accuracy")
    print_table(headings, rows, title="On base words it never saw", numbers=(2, 3, 4, 5, 6))
    click.echo(f"the classifier lies in {found.out}")
    if found.predictions is not None:
        click.echo(f"{format_count(found.predicted, 'pair')} for Nym or Not: {found.predictions}")
