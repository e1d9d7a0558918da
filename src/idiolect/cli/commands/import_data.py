"""``idiolect import``: convert an export of another program into a dataset folder."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.formatting import strip_control_characters
from idiolect.cli.options import PATH_TYPE, json_option
from idiolect.cli.output import print_json
from idiolect.cli.strict_command import StrictCommand

FORMATS = "movielens, chitchat, perpcs, oppu, lamp, jsonl, chat"
"""The names of all formats, repeated here because the registry imports all importers."""


@click.command("import", cls=StrictCommand)
@click.argument("source", type=PATH_TYPE, required=False)
@click.option("--out", type=PATH_TYPE, help="Dataset folder to write.")
@click.option("--format", metavar="NAME", help=f"Format, if it is not detected: {FORMATS}.")
@click.option("--task", metavar="NAME", help="Task, if the files do not name it.")
@click.option("--person", metavar="ID", help="Id of the person, if the lines do not name one.")
@click.option(
    "--person-role",
    metavar="ROLE",
    help="For chats: the role that is the person.  [default: user]",
)
@click.option("--split", metavar="NAME", help="For LaMP: the split to read, e.g. train or dev.")
@click.option("--name", metavar="NAME", help="Name of the dataset.  [default: the folder's name]")
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@click.option("--dry-run", is_flag=True, help="Read and report, but write nothing.")
@json_option
def import_data_command(
    source: Path | None,
    out: Path | None,
    format: str | None,
    task: str | None,
    person: str | None,
    person_role: str | None,
    split: str | None,
    name: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Convert an export into a dataset folder.

    SOURCE is a file or folder: questions and outputs of LaMP, the OPPU or the Per-Pcs release,
    MovieLens, chitchat, chats as JSONL (in the format of OpenAI or ShareGPT), or Idiolect's plain
    JSONL. The formats movielens and chitchat are installed as packages and need no SOURCE.

    Reports for each file what was read, and what was skipped and why. If a file is broken, nothing
    is written.

    \b
    $ idiolect import chats.jsonl --person me --out data/me --dry-run
    $ idiolect import --format movielens --out data/films
    """
    from idiolect import api

    # The API checks this, too; here the message can name the options.
    if out is None and not dry_run:
        raise click.UsageError("no output folder: give --out FOLDER, or --dry-run to only report")
    report = api.import_data(
        api.ImportRequest(
            source=source,
            out=out,
            format=format,
            task=task,
            person=person,
            person_role=person_role,
            split=split,
            name=name,
            overwrite=overwrite,
            dry_run=dry_run,
        )
    )
    if as_json:
        print_json(report)
        return
    # Lines quote the source's own text, which may contain control characters.
    for line in report.format_lines():
        click.echo(strip_control_characters(line))
    click.echo("nothing was written (--dry-run)" if dry_run else f"wrote the dataset to {out}")
