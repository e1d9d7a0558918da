"""``idiolect mean``: one adapter of many people's, from which others' training starts."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.options import (
    json_option,
    out_option,
    people_options,
    store_argument,
    store_base_option,
)
from idiolect.cli.output import print_json
from idiolect.cli.progress import redirect_stdout_to_stderr


@click.command("mean")
@store_argument
@people_options("Somebody who agreed that their adapter takes part.")
@out_option("The folder to make.")
@store_base_option
@json_option
def command(
    store: Path, people: tuple[str, ...], out: Path, base: str | None, as_json: bool
) -> None:
    """Make one adapter of many people's, to start others from.

    STORE is a folder of adapters made by `idiolect personalize`. Writes, in PEFT's format, the
    adapter whose update is nearest to the mean of theirs. What these people's words have in common
    is in it, so each of them must have agreed (`idiolect consent`); its manifest says how many they
    were, and the store's ledger, under pseudonyms, who.

    \b
    $ idiolect consent raters --person ann --person ben --scope mean
    $ idiolect mean raters --person ann --person ben --out start
    $ idiolect personalize data/newcomers --store newcomers --start start --epochs 1
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        folder = api.mean(store, people, out, base=base)
    if as_json:
        print_json({"people": len(set(people)), "folder": folder})
    else:
        click.echo(f"the mean of {len(set(people))} people's adapters lies in {folder}")
