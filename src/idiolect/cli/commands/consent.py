"""``idiolect consent``: who agrees that what is made of their adapter is shared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.options import json_option, people_options, store_argument
from idiolect.cli.output import print_json, print_table
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.errors import UsageError

if TYPE_CHECKING:
    from idiolect.privacy.consent import Consent, Scope


@click.command("consent")
@store_argument
@people_options("Who agrees, or with --revoke takes it back.")
@click.option(
    "--scope",
    type=click.Choice(["pieces", "mean"]),
    help="To what: 'pieces' of the adapter in a pool, or the adapter in a 'mean' of many.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The last day on which it holds (UTC), e.g. 2030-12-31; without it there is no end.",
)
@click.option("--revoke", is_flag=True, help="Take the consent back.")
@json_option
def command(
    store: Path,
    people: tuple[str, ...],
    scope: Scope | None,
    until: datetime | None,
    revoke: bool,
    as_json: bool,
) -> None:
    """Record who agrees to share, or list it.

    STORE is a folder of adapters made by `idiolect personalize`. Nothing made of a person's adapter
    is shared unless they agreed to that scope; the last word counts. Taking it back stops what
    would be shared from then on; what was made before is not changed (pieces in a pool: `idiolect
    withdraw`). Without --person everyone's consents are listed.

    \b
    $ idiolect consent raters --person ann --person ben --scope mean --until 2030-12-31
    $ idiolect consent raters --person ben --scope mean --revoke
    $ idiolect consent raters
    """
    from idiolect import api

    asked = scope is not None or until is not None or revoke
    if not people and asked:
        raise UsageError("name whose consent it is: --person ID, or --people-file FILE")
    if people and scope is None:
        raise UsageError("say to what: --scope pieces, or --scope mean")
    last_day = until.date() if until else None
    with redirect_stdout_to_stderr():
        if scope is None:
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
    lacking = sorted(set(people) - {consent.person for consent in found})
    if lacking:
        click.echo(f"had given none: {', '.join(lacking)}")


def _print_consents(found: Sequence[Consent]) -> None:
    if not found:
        click.echo("nobody's consent is recorded")
        return
    rows = [
        (c.person, c.scope, c.since[:10], c.until or "no end", _describe_validity(c)) for c in found
    ]
    print_table(("who", "scope", "since", "until", "valid"), rows)


def _describe_validity(consent: Consent) -> str:
    if consent.revoked:
        return f"no, taken back on {consent.revoked[:10]}"
    return "yes" if consent.valid else "no, has ended"
