"""``idiolect suppressed``: show a suppression list, or take people off it."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.options import PATH_TYPE, json_option, people_options
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import UsageError


@click.command("suppressed", cls=StrictCommand)
@click.argument("file", type=PATH_TYPE)
@people_options("Id to look up, or with --remove to take off the list.")
@click.option("--task", metavar="NAME", default="", help="The task, for ids that are numbers.")
@click.option("--remove", is_flag=True, help="Take these people off the list: they came back.")
@json_option
def suppressed_command(
    file: Path, people: tuple[str, ...], task: str, remove: bool, as_json: bool
) -> None:
    """Show a suppression list, or take people off it.

    FILE is the suppressed.json that `idiolect forget` writes. It holds hashes, from which no id can
    be read; but anyone who has FILE can find out whether an id that they know or guess is on it.
    With --remove, a person can be imported and trained again, with all their records. Do that only
    if they ask for it.

    \b
    $ idiolect suppressed data/suppressed.json
    $ idiolect suppressed data/suppressed.json --person ann --remove
    """
    from idiolect import api

    if remove and not people:
        raise UsageError("no person given: name them with --person ID or --people-file FILE")
    report = api.edit_suppression_list(
        api.SuppressionListRequest(file=file, people=people, task=task, remove=remove)
    )
    if as_json:
        print_json(report)
        return
    facts = {"people": f"{report.people:,}", "records": f"{report.records:,}"}
    if people:
        facts["removed" if remove else "on the list"] = ", ".join(report.found) or "none"
        missing = [person for person in people if person not in report.found]
        facts["not on the list"] = ", ".join(missing) or "none"
    print_pairs(facts)
