"""``idiolect withdraw``: remove a sharer's pieces from a pool, and what was made from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count, format_duration, join_reasons
from idiolect.cli.options import PATH_TYPE, json_option, people_options, profiles_option
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import IntegrityError

if TYPE_CHECKING:
    from idiolect.pieces.withdrawal.withdraw import WithdrawSummary

MAX_ROWS = 40
"""Maximum number of rows in the table; ``--json`` prints all."""


@click.command("withdraw", cls=StrictCommand)
@click.argument("pool", type=PATH_TYPE)
@click.option(
    "--sharer",
    "sharers",
    multiple=True,
    metavar="NAME",
    help="Pseudonym of a sharer in the pool. Repeatable.",
)
@click.option("--store", type=PATH_TYPE, help="Store of the people named with --person.")
@people_options("Id of a sharer in --store.")
@click.option(
    "--in",
    "within",
    multiple=True,
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Folder to search. Repeatable.  [default: the parent folder of POOL]",
)
@click.option(
    "--data", type=PATH_TYPE, help="Dataset of the people whose recipes and adapters are rebuilt."
)
@profiles_option
@click.option(
    "--base", metavar="MODEL", help="Current location of the base model, if it has moved."
)
@json_option
def withdraw_command(
    pool: Path,
    sharers: tuple[str, ...],
    store: Path | None,
    people: tuple[str, ...],
    within: tuple[Path, ...],
    data: Path | None,
    profiles: Path | None,
    base: str | None,
    as_json: bool,
) -> None:
    """Remove a sharer's pieces from a pool, and what was made from them.

    First removes the pieces from POOL: zeroes their gates and deletes their file. Then searches the
    folders --in for recipes, adapters trained from pieces, exported adapters, and pool reports.

    Recipes and adapters of people whose history is in --data are rebuilt from the remaining
    sharers. Those of other people are removed, and using them raises an error that says why.
    Exported adapters and reports are deleted. Copies elsewhere are out of reach; if you find one,
    run this again with --in. A folder that could not be read is listed, and the command fails after
    withdrawing the rest.

    The ledger of the sharers' store records the withdrawal under a random name, and their consent
    is revoked. After an interruption, run the same command again.

    \b
    $ idiolect withdraw pool --store raters --person ann
    $ idiolect withdraw pool --sharer 9f86d081884c7d65 --in . --data data/new
    """
    from idiolect import api

    # The API checks that sharers are named and known before it changes anything.
    with progress_listener() as listener:
        summary = api.withdraw(
            api.WithdrawRequest(
                pool=pool,
                sharers=sharers,
                store=store,
                people=people,
                within=within,
                data=data,
                base=base,
                profiles=profiles,
            ),
            listener=listener,
        )
    if as_json:
        print_json(summary)
    else:
        print_withdrawal(summary)
    # The rest is withdrawn; what could not be read may still hold the pieces.
    if summary.unreadable:
        raise IntegrityError(
            f"not everything was looked into: {'; '.join(join_reasons(summary.unreadable))}"
        )


def print_withdrawal(summary: WithdrawSummary) -> None:
    """Print a table of the effects, and the run as labels and values."""
    # One row for each artifact that was made from the pieces.
    if summary.effects:
        rows = [
            (e.person or "-", str(e.where), e.outcome, e.why) for e in summary.effects[:MAX_ROWS]
        ]
        print_table(("person", "where", "outcome", "reason"), rows)
        if len(summary.effects) > MAX_ROWS:
            click.echo(f"and {len(summary.effects) - MAX_ROWS:,} more (--json prints all)")
    facts = {
        "withdrawn": format_count(len(summary.sharers), "sharer"),
        "remaining in the pool": format_count(summary.left, "sharer"),
        "searched": ", ".join(map(str, summary.searched)),
    }
    # How often each outcome occurred.
    facts |= {kind: f"{n:,}" for kind, n in Counter(e.outcome for e in summary.effects).items()}
    if summary.ledgers:
        facts["recorded in the ledger of"] = ", ".join(map(str, summary.ledgers))
    else:
        facts["ledger"] = "the sharers' store was not found (give it with --store)"
    if summary.unreadable:
        facts["not searched"] = "; ".join(join_reasons(summary.unreadable))
    if summary.mentions:
        facts["still mentioned in"] = ", ".join(map(str, summary.mentions))
    facts["time"] = format_duration(summary.seconds)
    print_pairs(facts)
