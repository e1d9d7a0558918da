"""``idiolect evaluate``: compare methods on the same people and questions."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli import report_tables
from idiolect.cli.options import (
    base_option,
    config_options,
    data_argument,
    json_option,
    out_option,
    people_options,
)
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand

METHODS = ("base", "rag", "full-history", "pag", "oppu", "oppu+rag", "oppu+pag")
"""The names of all methods, repeated here because the registry of methods imports torch."""


@click.command("evaluate", cls=StrictCommand)
@data_argument
@out_option("Folder for report.json, report.html and the figures.")
@base_option
@click.option(
    "--rag-base",
    metavar="MODEL",
    help="Base model adapted with retrieval, for methods that retrieve.",
)
@click.option(
    "--pag-base",
    metavar="MODEL",
    help="Base model adapted with profiles, for methods that use them.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(METHODS),
    metavar="NAME",
    help=f"One of {', '.join(METHODS)}. Repeatable.  [default: base, rag, oppu]",
)
@click.option(
    "--people", "number", type=click.IntRange(min=1), metavar="N", help="Sample N people."
)
@people_options("Evaluate on this person.")
# Options and the settings of `EvaluateConfig` that they set.
@config_options(
    rate="personal.train.rate",
    epochs="personal.train.epochs",
    rank="personal.lora.rank",
    seed="personal.train.seed",
    retrieval="retriever",
    k="k",
    gate="personal.gate.on",
    dtype="dtype",
    quantize="quantize",
    device="device",
)
@json_option
def evaluate_command(
    data: Path,
    out: Path,
    base: str,
    rag_base: str | None,
    pag_base: str | None,
    methods: tuple[str, ...],
    number: int | None,
    people: tuple[str, ...],
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Compare methods on the same people and questions.

    DATA is a dataset folder. The questions are each person's latest items, or the dataset's own
    queries; personal adapters are trained on the earlier items. Prints each method's score with its
    confidence interval, its gain over the base model, and conclusions.

    Run it again after an interruption, and it resumes.

    \b
    $ idiolect evaluate data/films --people 60 --out report
    $ idiolect evaluate data/films --method base --method oppu --out report
    """
    from idiolect import api

    # --people N and --person ID both set the request's `people`.
    if number and people:
        raise click.UsageError(
            "--people samples people and --person names them: give only one of them"
        )
    with progress_listener() as listener:
        report = api.evaluate(
            api.EvaluateRequest(
                data=data,
                out=out,
                base=base,
                rag_base=rag_base,
                pag_base=pag_base,
                methods=methods,
                people=number or people,
                config=overrides.build_config(api.EvaluateConfig),
            ),
            listener=listener,
        )
    report_tables.print_report(report, out, as_json=as_json)
