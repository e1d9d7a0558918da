"""``idiolect pool``: a report on a pool of pieces and on whom it helps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from idiolect.cli.options import PATH_TYPE, json_option, out_option
from idiolect.cli.output import print_json, print_table, print_text
from idiolect.cli.progress import redirect_stdout_to_stderr

MAX_ROWS = 20
"""Sharers in the table; the report has all."""


@click.command("pool")
@click.argument("pool", type=PATH_TYPE)
@out_option("The folder for report.json and report.html.")
@click.option(
    "--recipes",
    type=PATH_TYPE,
    help="Show whom the pool helps in these recipes (idiolect assemble).",
)
@json_option
def command(pool: Path, out: Path, recipes: Path | None, as_json: bool) -> None:
    """Report on a pool: who helps whom, and what it costs.

    POOL is a folder made by `idiolect share`. Writes a page to look at and a file to compute with:
    the sharers and what the audit found of them, and with --recipes how much of whom is in which
    newcomer's adapter, which layers and modules choose whom, and how many sharers that amounts to.
    Sharers stand there under the pool's pseudonyms, newcomers as numbers.

    \b
    $ idiolect pool pool --recipes recipes --out pool-report
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        found = api.pool_report(pool, out, recipes=recipes)
    if as_json:
        print_json(found)
    else:
        print_pool_report(found, out)


def print_pool_report(report: Mapping[str, Any], out: Path) -> None:
    """What the numbers say, and a table of those who give most."""
    from idiolect.evaluation.reports.pool_html import write_conclusions

    for text in write_conclusions(report):
        print_text(text)
    rows = [
        (
            str(number),
            sharer["sharer"],
            "–" if sharer["given"] is None else f"{100 * sharer['given']:.1f}%",
            "–" if sharer["newcomers"] is None else str(sharer["newcomers"]),
            str(sharer["pieces"]),
            f"{sharer['bytes'] / 1e6:.1f} MB",
        )
        for number, sharer in enumerate(report["sharers"][:MAX_ROWS], 1)
    ]
    if rows:
        headings = ("", "sharer", "of all weight", "newcomers", "pieces", "storage")
        print_table(headings, rows, numbers=(0, 2, 3, 4, 5))
    click.echo(f"\nTo look at: {out / 'report.html'}\nTo compute with: {out / 'report.json'}")
