"""``idiolect evaluate``: methods side by side on the same people and questions."""

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

METHODS = ("base", "rag", "full-history", "pag", "oppu", "oppu+rag", "oppu+pag")
"""Named here too, since reading them from the evaluation would load torch for ``--help``."""


@click.command("evaluate")
@data_argument
@out_option("The folder for report.json, report.html and the pictures.")
@base_option
@click.option(
    "--rag-base", metavar="MODEL", help="A base adapted with retrieval, for methods that retrieve."
)
@click.option(
    "--pag-base", metavar="MODEL", help="A base adapted with profiles, for methods that use them."
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
    "--people", "number", type=click.IntRange(min=1), metavar="N", help="So many people, drawn."
)
@people_options("Evaluate on this person.")
@config_options(
    rate="personal.train.rate",
    epochs="personal.train.epochs",
    rank="personal.lora.rank",
    seed="personal.train.seed",
    retrieval="retriever",
    k="k",
    gate="personal.gate.on",
    dtype="dtype",
    device="device",
)
@json_option
def command(
    data: Path,
    out: Path,
    base: str,
    rag_base: str | None,
    pag_base: str | None,
    methods: tuple[str, ...],
    number: int | None,
    people: tuple[str, ...],
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Compare methods on the same people and questions.

    DATA is a dataset folder. Each person's latest items, or the dataset's own queries, are asked of
    every method; personal adapters are trained on what came before. Prints each method's score with
    its interval, its gain over the base model, and what may be concluded. Run it again after an
    interruption and it goes on.

    \b
    $ idiolect evaluate data/films --people 60 --out report
    $ idiolect evaluate data/films --method base --method oppu --out report
    """
    from idiolect import api

    if number and people:
        raise click.UsageError("--people draws people, --person names them: give one")
    with progress_listener() as listener:
        found = api.evaluate(
            api.EvaluateRequest(
                data=data,
                out=out,
                base=base,
                rag_base=rag_base,
                pag_base=pag_base,
                methods=methods,
                people=number or people,
                config=wanted.build_config(api.EvaluateConfig),
            ),
            listener=listener,
        )
    report_tables.print_report(found, out, as_json=as_json)
