"""``idiolect merge``: merge the parts of a sharded run into their store."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import json_option, store_argument
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand


@click.command("merge", cls=StrictCommand)
@store_argument
@click.option("--no-wait", is_flag=True, help="Fail at once if another process writes the store.")
@json_option
def merge_command(store: Path, no_wait: bool, as_json: bool) -> None:
    """Merge the parts of a sharded run into their store.

    After `idiolect personalize ... --store STORE --shard K/N` has run for every K from 1 to N, this
    command moves all parts into STORE. It loads no model, and links adapter files instead of
    copying them if the file system allows it.

    If a part is missing, unfinished, or from another run, the command names it and merges nothing.
    Run it again at any time: it resumes after an interruption, and does nothing if there are no
    parts.

    \b
    $ idiolect merge raters
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        summary = api.merge(store, wait=not no_wait)
    if as_json:
        print_json(summary)
        return
    # "new" counts people whose adapter was added or replaced.
    facts = {
        "merged": format_count(summary.parts, "part") if summary.parts else "no parts to merge",
        "new": format_count(summary.new, "person", "people"),
        "in the store": format_count(summary.people, "person", "people"),
        "time": format_duration(summary.seconds),
    }
    print_pairs(facts)
