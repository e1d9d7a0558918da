"""``idiolect mean``: average several people's adapters into one starting point."""

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
from idiolect.cli.strict_command import StrictCommand


@click.command("mean", cls=StrictCommand)
@store_argument
@people_options("Id of a person with consent to the scope 'mean'.")
@out_option("Folder to write.")
@store_base_option
@json_option
def mean_command(
    store: Path, people: tuple[str, ...], out: Path, base: str | None, as_json: bool
) -> None:
    """Average several people's adapters into one starting point.

    STORE is a folder of adapters made by `idiolect personalize`. Writes, in PEFT's format, the
    adapter whose update is nearest to the mean of the people's updates. It contains what these
    people have in common, so each of them must have given consent (`idiolect consent`).

    The adapter's manifest records the number of people. The store's ledger records, under
    pseudonyms, who they are.

    \b
    $ idiolect consent raters --person ann --person ben --scope mean
    $ idiolect mean raters --person ann --person ben --out start
    $ idiolect personalize data/new --store new --start start --epochs 1
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        folder = api.mean(store, people, out, base=base)
    if as_json:
        print_json({"people": len(set(people)), "folder": folder})
    else:
        click.echo(f"wrote the mean of {len(set(people))} people's adapters to {folder}")
