"""``idiolect profile``: a short text about each person."""

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


@click.command("profile")
@data_argument
@out_option("The folder for the profiles.")
@base_option
@click.option(
    "--writer",
    type=click.Choice(["model", "facts"]),
    default="model",
    show_default=True,
    help="Who writes: the base model, or plain counting without a model.",
)
@people_options("Write about this person only.")
@json_option
def command(
    data: Path, out: Path, base: str, writer: str, people: tuple[str, ...], as_json: bool
) -> None:
    """Write a short text about each person.

    For each person in DATA, some texts of what their history says about them, each made from an
    earlier part of it, so that training never shows an item a profile that has seen it. Give the
    folder to `idiolect personalize --profiles` or `idiolect adapt --profiles` (PAG).

    \b
    $ idiolect profile data/films --out film-profiles
    """
    from idiolect import api

    with progress_listener() as listener:
        done = api.profile(
            api.ProfileRequest(data=data, out=out, base=base, writer=writer, people=people),
            listener=listener,
        )
    if as_json:
        print_json(done)
        return
    print_pairs(
        {
            "profiles": str(done.out),
            "written": f"{format_count(done.profiles, 'text')} about "
            f"{format_count(done.people, 'person', 'people')}",
            "time": format_duration(done.seconds),
        }
    )
