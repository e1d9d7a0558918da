"""``idiolect consent``: record, revoke or list consent to sharing, or repair its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.options import json_option, people_options, store_argument
from idiolect.cli.output import print_json, print_table
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import UsageError

if TYPE_CHECKING:
    from idiolect.privacy.consent import Consent, Scope


@click.command("consent", cls=StrictCommand)
@store_argument
@people_options("Id of the person who consents, or with --revoke revokes.")
@click.option(
    "--scope",
    type=click.Choice(["pieces", "mean"]),
    help="'pieces' of the adapter go into a pool, or the adapter into a 'mean' of several.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Last valid day (UTC), e.g. 2030-12-31.  [default: no end]",
)
@click.option("--revoke", is_flag=True, help="Revoke the consent.")
@click.option(
    "--repair",
    is_flag=True,
    help="Make a ledger usable again that was cut off or changed; revokes all consents.",
)
@json_option
def consent_command(
    store: Path,
    people: tuple[str, ...],
    scope: Scope | None,
    until: datetime | None,
    revoke: bool,
    repair: bool,
    as_json: bool,
) -> None:
    """Record, revoke or list consent to sharing.

    STORE is a folder of adapters made by `idiolect personalize`. Nothing that is made from a
    person's adapter is shared unless the person has consented to that scope. The latest entry
    counts. Without --person, all consents are listed.

    Before people agree to 'pieces', tell them what a pool reveals: their words are not in it, but
    those who have other texts of a person can often tell which pieces are theirs. In a test,
    someone with 8 messages of each of 12 people found 6 of them; by chance it would be 1.

    Revoking stops future sharing. It does not change what was made before; to remove pieces from a
    pool, use `idiolect withdraw`.

    The ledger of a store records consents, what was shared, and what private training has spent.
    If it was cut off, changed, or made by an early version, commands refuse it. --repair keeps all
    lines that can be read, so that people can still withdraw, and revokes all consents, because a
    missing line may have revoked them. Ask the people again. A missing line may also have recorded
    a private training: after --repair, privacy budgets are lower bounds that count only the lines
    that are left, so the totals that `personalize --private` shows can be too low. If you have a
    copy of the store's folder `ledger`, restore that instead.

    \b
    $ idiolect consent raters --person ann --person ben --scope mean --until 2030-12-31
    $ idiolect consent raters --person ben --scope mean --revoke
    $ idiolect consent raters
    """
    from idiolect import api

    # Without people the command lists consents, so no other option makes sense.
    changes = scope is not None or until is not None or revoke
    if not people and changes:
        raise UsageError("no person given: name them with --person ID or --people-file FILE")
    if people and scope is None:
        raise UsageError("no scope given: add --scope pieces or --scope mean")
    if repair and (people or changes):
        raise UsageError("--repair goes alone: record consents after it")
    last_day = until.date() if until else None
    with redirect_stdout_to_stderr():
        if repair:
            found = api.repair_ledger(store)
            click.echo(
                "privacy budgets now count only the lines that are left: the totals that "
                "`personalize --private` shows can be too low",
                err=True,
            )
        elif scope is None:
            found = api.consents(store)
        else:
            found = api.consent(
                api.ConsentRequest(
                    store=store, people=people, scope=scope, until=last_day, revoke=revoke
                )
            )
    if as_json:
        print_json(found)
        return
    if found or not people:
        _print_consents(found)
    # Revoking a consent that was never given records nothing.
    without = sorted(set(people) - {consent.person for consent in found})
    if without:
        click.echo(f"no consent to revoke: {', '.join(without)}")


def _print_consents(found: Sequence[Consent]) -> None:
    if not found:
        click.echo("no consents are recorded")
        return
    # Times are ISO 8601; the first 10 characters are the date.
    rows = [
        (c.person, c.scope, c.since[:10], c.until or "no end", _describe_validity(c)) for c in found
    ]
    print_table(("person", "scope", "since", "until", "valid"), rows)


def _describe_validity(consent: Consent) -> str:
    if consent.revoked:
        return f"no, revoked on {consent.revoked[:10]}"
    return "yes" if consent.valid else "no, expired"
