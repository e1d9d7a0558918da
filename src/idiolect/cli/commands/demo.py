"""``idiolect demo``: the whole way on real people, in minutes."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli import report_tables
from idiolect.cli.options import PATH_TYPE, json_option
from idiolect.cli.progress import progress_listener


@click.command("demo")
@click.option(
    "--out",
    type=PATH_TYPE,
    default=Path("demo"),
    show_default=True,
    help="The folder for the report.",
)
@click.option(
    "--people",
    type=click.IntRange(min=1),
    metavar="N",
    help="People of each kind; else 8 who rate films and 4 who chat.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@json_option
def command(out: Path, people: int | None, seed: int, as_json: bool) -> None:
    """The whole way on real people, in minutes.

    Takes people who rated films (MovieLens) and people who chatted (chitchat), at most their last
    40 items, trains an adapter for each, and asks the base model, the base model with retrieval,
    and the personal model for what was held back. Nothing is fixed beforehand: where the personal
    model does not win, it says so.

    \b
    $ idiolect demo
    $ idiolect demo --people 20 --seed 7 --out somewhere
    """
    from idiolect import api

    with progress_listener() as listener:
        found = api.demo(out, people=people, seed=seed, listener=listener)
    report_tables.print_report(found, out, as_json=as_json)
