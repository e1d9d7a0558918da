"""``idiolect demo``: train and compare adapters on real people, in minutes."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli import report_tables
from idiolect.cli.options import PATH_TYPE, json_option
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand


@click.command("demo", cls=StrictCommand)
@click.option(
    "--out",
    type=PATH_TYPE,
    default=Path("demo"),
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    "--people",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of people per dataset.  [default: 8 for films, 4 for chats]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@json_option
def demo_command(out: Path, people: int | None, seed: int, as_json: bool) -> None:
    """Train and compare adapters on real people, in minutes.

    Takes people who rated films (MovieLens) and people who chatted (chitchat), at most the last 40
    items of each, and trains an adapter for each person. Then compares the base model, the base
    model with retrieval, and the personal model on held-out items. The outcome is not fixed: the
    report says so if the personal model does not win.

    \b
    $ idiolect demo
    $ idiolect demo --people 20 --seed 7 --out somewhere
    """
    from idiolect import api

    # The report does not depend on --json: it is always written to --out.
    with progress_listener() as listener:
        report = api.demo(out, people=people, seed=seed, listener=listener)
    report_tables.print_report(report, out, as_json=as_json)
