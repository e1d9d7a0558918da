"""``idiolect withdraw``: a sharer's pieces leave a pool, and what was made of them goes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import PATH_TYPE, json_option, people_options, profiles_option
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.progress import progress_listener

if TYPE_CHECKING:
    from idiolect.pieces.withdrawal.withdraw import WithdrawSummary

MAX_ROWS = 40
"""Rows of the table; --json holds all."""


@click.command("withdraw")
@click.argument("pool", type=PATH_TYPE)
@click.option(
    "--sharer",
    "sharers",
    multiple=True,
    metavar="NAME",
    help="Who withdraws, by pseudonym in the pool. Repeatable.",
)
@click.option("--store", type=PATH_TYPE, help="The store of those named with --person.")
@people_options("Who withdraws, by id in the store whose adapter they shared.")
@click.option(
    "--in",
    "within",
    multiple=True,
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Where to look for what was made of the pieces; without it, the folder that the pool lies "
    "in. Repeatable.",
)
@click.option(
    "--data", type=PATH_TYPE, help="Histories of the people whose adapters are to be made anew."
)
@profiles_option
@click.option("--base", metavar="MODEL", help="Where the base model lies now, if it has moved.")
@json_option
def command(
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
    """Take somebody's pieces out of a pool, and what was made of them.

    First the pieces vanish from POOL: their gates are zeroed, their file is removed. Then recipes,
    adapters trained from pieces, exported adapters and pool reports in the folders --in are looked
    through. Recipes and adapters of people whose history is in --data are made anew from who is
    left; those of all others are taken away, and using them is an error that says why. Exported
    adapters and reports are deleted. Copies elsewhere are out of reach; whoever finds one can run
    this again with --in.

    The ledger of the store that shared keeps that they withdrew, under a random name, and their
    consent is taken back. After an interruption the same command goes on.

    \b
    $ idiolect withdraw pool --store raters --person ann
    $ idiolect withdraw pool --sharer 9f86d081884c7d65 --in . --data data/newcomers
    """
    from idiolect import api

    with progress_listener() as listener:
        done = api.withdraw(
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
        print_json(done)
    else:
        print_withdrawal(done)


def print_withdrawal(done: WithdrawSummary) -> None:
    """A table of what became of what, and the run in lines."""
    if done.effects:
        rows = [(e.person or "-", str(e.where), e.outcome, e.why) for e in done.effects[:MAX_ROWS]]
        print_table(("who", "where", "what became of it", "why"), rows)
        if len(done.effects) > MAX_ROWS:
            click.echo(f"and {len(done.effects) - MAX_ROWS:,} more (--json names all)")
    facts = {
        "withdrawn": format_count(len(done.sharers), "sharer"),
        "left in the pool": format_count(done.left, "sharer"),
        "looked through": ", ".join(map(str, done.searched)),
    }
    facts |= {kind: f"{n:,}" for kind, n in Counter(e.outcome for e in done.effects).items()}
    if done.ledgers:
        facts["told to the ledger of"] = ", ".join(map(str, done.ledgers))
    else:
        facts["ledger"] = "none of those who shared is at hand (--store names it)"
    if done.unreadable:
        facts["not looked into"] = "; ".join(done.unreadable)
    if done.mentions:
        facts["still named in"] = ", ".join(map(str, done.mentions))
    facts["time"] = format_duration(done.seconds)
    print_pairs(facts)
