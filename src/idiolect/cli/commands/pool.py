"""``idiolect pool``: report on a pool of pieces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from idiolect.cli.options import PATH_TYPE, json_option, out_option
from idiolect.cli.output import print_json, print_table, print_text
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.report_tables import print_report_paths
from idiolect.cli.strict_command import StrictCommand

MAX_ROWS = 20
"""Maximum number of sharers in the table; the report lists all."""


@click.command("pool", cls=StrictCommand)
@click.argument("pool", type=PATH_TYPE)
@out_option("Folder for report.json and report.html.")
@click.option(
    "--recipes",
    type=PATH_TYPE,
    help="Recipes made from the pool (by idiolect assemble), to show how they use it.",
)
@json_option
def pool_command(pool: Path, out: Path, recipes: Path | None, as_json: bool) -> None:
    """Report on a pool: its sharers, their use, and their cost.

    POOL is a folder made by `idiolect share`. Writes a page (report.html) and its data
    (report.json): the sharers and the results of their audits.

    With --recipes, the report also shows how much of each sharer is in each target user's adapter,
    which layers and modules use which sharers, and the effective number of sharers. Sharers appear
    under the pool's pseudonyms, target users as numbers.

    \b
    $ idiolect pool pool --recipes recipes --out pool-report
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        report = api.pool_report(pool, out, recipes=recipes)
    if as_json:
        print_json(report)
    else:
        print_pool_report(report, out)


def print_pool_report(report: Mapping[str, Any], out: Path) -> None:
    """Print conclusions and a table of the sharers whose pieces are used most."""
    from idiolect.evaluation.reports.pool_html import write_conclusions

    for text in write_conclusions(report):
        print_text(text)
    # A dash means that no recipes were given.
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
        headings = ("", "sharer", "of all weight", "target users", "pieces", "storage")
        print_table(headings, rows, numbers=(0, 2, 3, 4, 5))
    print_report_paths(out)
