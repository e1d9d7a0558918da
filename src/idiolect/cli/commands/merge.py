"""``idiolect merge``: take the parts of a sharded run into their store."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import json_option, store_argument
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.progress import redirect_stdout_to_stderr


@click.command("merge")
@store_argument
@click.option(
    "--no-wait", is_flag=True, help="Fail at once where another process writes the store."
)
@json_option
def command(store: Path, no_wait: bool, as_json: bool) -> None:
    """Take the parts of a sharded run into their store.

    After `idiolect personalize ... --store STORE --shard K/N` has run for every K from 1 to N, this
    takes all parts into STORE and removes them. It loads no model and copies no adapter that it can
    share. Parts that are missing, unfinished or of another run are named, and nothing is taken. Run
    it again at any time: after an interruption it goes on, and where nothing waits it does nothing.

    \b
    $ idiolect merge raters
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        done = api.merge(store, wait=not no_wait)
    if as_json:
        print_json(done)
        return
    facts = {
        "merged": format_count(done.parts, "part", "parts")
        if done.parts
        else "nothing was waiting",
        "new": format_count(done.new, "person", "people"),
        "in the store": format_count(done.people, "person", "people"),
        "time": format_duration(done.seconds),
    }
    print_pairs(facts)
