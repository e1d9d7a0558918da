"""``idiolect import``: convert an export of another program into a dataset folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import strip_control_characters
from idiolect.cli.options import PATH_TYPE, json_option
from idiolect.cli.output import print_json
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import ConsentError, MissingError

if TYPE_CHECKING:
    from idiolect.api.requests import ImportRequest

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
@click.option(
    "--consent-of-person",
    metavar="TEXT|FILE",
    help="For the other side of a chat: how that person agreed that their words are learned; "
    "the dataset keeps it.",
)
@click.option(
    "--machine-text",
    is_flag=True,
    help="For the other side of a chat: a machine wrote it, so no one has to agree.",
)
@click.option(
    "--suppress",
    multiple=True,
    type=PATH_TYPE,
    metavar="FILE",
    help="List of forgotten people and records to leave out. Repeatable; suppressed.json beside "
    "--out is always used.",
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
    consent_of_person: str | None,
    machine_text: bool,
    suppress: tuple[Path, ...],
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

    In chats, a speaker is a role and a name. Without --person, each named speaker of the role is a
    person; with --person, only that speaker's words are learned. Words that a message quotes or
    forwards are context, not the writer's own. Another role than the user's is the other side of
    the chat: its words are learned only with that person's consent (--consent-of-person; on a
    terminal the command asks), or if a machine wrote them (--machine-text).

    \b
    $ idiolect import chats.jsonl --person me --out data/me --dry-run
    $ idiolect import --format movielens --out data/films
    """
    from idiolect import api

    # The API checks this, too; here the message can name the options.
    if out is None and not dry_run:
        raise click.UsageError("no output folder: give --out FOLDER, or --dry-run to only report")
    request = api.ImportRequest(
        source=source,
        out=out,
        format=format,
        task=task,
        person=person,
        person_role=person_role,
        consent_of_person=_read_statement(consent_of_person),
        machine_text=machine_text,
        suppress=suppress,
        split=split,
        name=name,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    try:
        report = api.import_data(request)
    except ConsentError as error:
        # Only a person at a terminal can answer; scripts give the options.
        if not sys.stdin.isatty():
            raise
        report = api.import_data(_ask_for_consent(request, error))
    if as_json:
        print_json(report)
        return
    # Lines quote the source's own text, which may contain control characters.
    for line in report.format_lines():
        click.echo(strip_control_characters(line))
    click.echo("nothing was written (--dry-run)" if dry_run else f"wrote the dataset to {out}")


def _read_statement(value: str | None) -> str | None:
    """Return the statement of consent that was given as text or as a file."""
    try:
        is_file = value is not None and Path(value).is_file()
    except OSError:  # a text that is too long for a file name
        is_file = False
    if value is None or not is_file:
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{value}: cannot read the statement of consent ({error})") from error


def _ask_for_consent(request: ImportRequest, error: ConsentError) -> ImportRequest:
    """Ask whose words the other side's are; return the request with the answer.

    Raises the error if the answer is empty.
    """
    click.echo(strip_control_characters(str(error)), err=True)
    if click.confirm("Did a machine write these words?", default=False, err=True):
        return replace(request, machine_text=True)
    statement = click.prompt(
        "How did this person agree that their words are learned? (empty: stop)",
        default="",
        show_default=False,
        err=True,
    )
    if not statement.strip():
        raise error
    return replace(request, consent_of_person=statement)
