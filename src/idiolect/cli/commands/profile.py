"""``idiolect profile``: write short textual profiles of each person."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    base_option,
    data_argument,
    json_option,
    out_option,
    people_options,
)
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand


@click.command("profile", cls=StrictCommand)
@data_argument
@out_option("Folder for the profiles.")
@base_option
@click.option(
    "--writer",
    type=click.Choice(["model", "facts"]),
    default="model",
    show_default=True,
    help="Writer: the base model, or facts that are counted without a model.",
)
@people_options("Describe this person only.")
@json_option
def profile_command(
    data: Path, out: Path, base: str, writer: str, people: tuple[str, ...], as_json: bool
) -> None:
    """Write short textual profiles of each person.

    Writes several profiles for each person in DATA, each from an earlier part of their history, so
    that training never shows an item together with a profile that was made from it. Give the folder
    to `idiolect personalize --profiles` or `idiolect adapt --profiles` (PAG).

    \b
    $ idiolect profile data/films --out film-profiles
    """
    from idiolect import api

    # The writer "facts" loads no model, so it takes seconds.
    with progress_listener() as listener:
        summary = api.profile(
            api.ProfileRequest(data=data, out=out, base=base, writer=writer, people=people),
            listener=listener,
        )
    if as_json:
        print_json(summary)
        return
    print_pairs(
        {
            "folder": str(summary.out),
            "written": f"{format_count(summary.profiles, 'profile')} of "
            f"{format_count(summary.people, 'person', 'people')}",
            "time": format_duration(summary.seconds),
        }
    )
