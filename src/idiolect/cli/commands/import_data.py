"""``idiolect import``: a foreign export becomes a dataset folder."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.formatting import strip_control_characters
from idiolect.cli.options import PATH_TYPE, json_option
from idiolect.cli.output import print_json

FORMATS = "movielens, chitchat, perpcs, oppu, lamp, jsonl, chat"
"""Named here too, since reading them from the importers would load them for ``--help``."""


@click.command("import")
@click.argument("source", type=PATH_TYPE, required=False)
@click.option("--out", type=PATH_TYPE, help="The dataset folder to make.")
@click.option("--format", metavar="NAME", help=f"Instead of guessing: {FORMATS}.")
@click.option("--task", metavar="NAME", help="The task, where the files do not say it.")
@click.option("--person", metavar="ID", help="Whose chats these are, where the lines do not say.")
@click.option(
    "--person-role",
    metavar="ROLE",
    help="In chats: the role whose words are the person's own; else user.",
)
@click.option(
    "--split", metavar="NAME", help="In LaMP's files: read this split only, e.g. train or dev."
)
@click.option("--name", metavar="NAME", help="What to call the dataset; else the folder's name.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset at --out.")
@click.option("--dry-run", is_flag=True, help="Read everything, report, write nothing.")
@json_option
def command(
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
    """Turn a foreign export into a dataset folder.

    SOURCE is a file or folder: LaMP's questions and outputs, the OPPU or the Per-Pcs release,
    MovieLens, chitchat, chats as JSONL (OpenAI's or ShareGPT's), or Idiolect's plain JSONL. The
    formats movielens and chitchat come with the set-up and need no SOURCE. Says of every file what
    was read, and what was skipped and why. A broken file leaves nothing behind.

    \b
    $ idiolect import chats.jsonl --person me --out data/me --dry-run
    $ idiolect import --format movielens --out data/films
    """
    from idiolect import api

    if out is None and not dry_run:
        raise click.UsageError("say with --out where the dataset goes, or --dry-run to only look")
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
    for line in report.format_lines():
        click.echo(strip_control_characters(line))
    click.echo("nothing was written (--dry-run)" if dry_run else f"the dataset lies in {out}")
