"""Consent to sharing: who agreed to which scope, until when, as events of the ledger.

The last event of a person and a scope counts: ``consented`` or ``revoked``. Depends on the ledger,
not on what is shared. Nothing derived from a person's adapter leaves a store without valid consent.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, cast, get_args

from idiolect.errors import ArtifactError, MissingError, UsageError
from idiolect.privacy.ledger import Ledger, LedgerEntry

Scope = Literal["pieces", "mean"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What people can agree to: sharing pieces of their adapter in a pool, or entering a mean
adapter."""
CONSENTED, REVOKED = "consented", "revoked"
_MAX_NAMED_PEOPLE = 5
"""The maximum number of people that an error message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """The last statement of one person about one scope."""

    person: str
    scope: Scope
    since: str
    """When the person agreed: UTC, ISO 8601."""
    until: str
    """The last day (UTC) on which the consent is valid; empty if it has no end."""
    revoked: str
    """When the person revoked it: UTC, ISO 8601; empty if they did not."""
    valid: bool
    """Whether the consent is valid at the requested time."""


def grant_consent(
    ledger: Ledger, people: Sequence[str], scope: Scope, *, until: date | None = None
) -> None:
    """Record that these people consent, from now to the end of the day ``until`` (UTC).

    Replaces their earlier consent to the scope. Raises UsageError for an unknown scope or a past
    day.
    """
    _require_known_scope(scope)
    today = datetime.now(UTC).date()
    # Reject a consent that would never be valid.
    if until is not None and until < today:
        raise UsageError(f"until {until}: has passed, today is {today} (UTC); name a later day")
    ledger.record_event(CONSENTED, people, {"scope": scope, "until": str(until or "")})


def revoke_consent(ledger: Ledger, people: Sequence[str], scope: Scope) -> tuple[str, ...]:
    """Record that these people revoke their consent; returns those who had a consent to revoke."""
    _require_known_scope(scope)
    granted = {c.person for c in list_consents(ledger) if c.scope == scope and not c.revoked}
    found = tuple(person for person in people if person in granted)
    ledger.record_event(REVOKED, found, {"scope": scope})
    return found


def repair_ledger(ledger: Ledger) -> None:
    """Make a ledger usable that was cut off or changed, and revoke all consents in it: the lines
    that are missing may have revoked them. An intact ledger stays as it is."""
    try:
        ledger.read_entries()
    except ArtifactError:
        ledger.repair_file(REVOKED, [{"scope": scope} for scope in SCOPES])


def list_consents(ledger: Ledger, *, at: datetime | None = None) -> tuple[Consent, ...]:
    """Return the consents of all people, sorted by person and scope.

    ``at`` (with a time zone) is the time at which validity is evaluated; the default is now. People
    whose pseudonym was destroyed are not included.
    """
    found = (
        _find_latest_consent(person, scope, entries, at)
        for person, entries in sorted(ledger.read_by_person().items())
        for scope in SCOPES
    )
    return tuple(consent for consent in found if consent is not None)


def require_consent(
    ledger: Ledger, people: Iterable[str], scope: Scope, *, store: Path, at: datetime | None = None
) -> None:
    """Raise MissingError unless each person's consent to the scope is valid.

    ``store`` is the folder that the ledger belongs to; the message names the command to run.
    """
    _require_known_scope(scope)
    # Collect the people without valid consent, each one once, in the given order.
    consents = {c.person: c for c in list_consents(ledger, at=at) if c.scope == scope}
    lacking = [p for p in dict.fromkeys(people) if p not in consents or not consents[p].valid]
    if not lacking:
        return
    # Name the first few with the reason, and suggest a command that covers all of them.
    named = ", ".join(
        f"{p!r} ({_explain_invalid(consents.get(p))})" for p in lacking[:_MAX_NAMED_PEOPLE]
    )
    more = (
        f" and {len(lacking) - _MAX_NAMED_PEOPLE} more" if len(lacking) > _MAX_NAMED_PEOPLE else ""
    )
    who = (
        " ".join(f"--person {shlex.quote(p)}" for p in lacking)
        if not more
        else "--people-file FILE"
    )
    raise MissingError(
        f"{store}: no valid consent to scope {scope!r} of {named}{more}; if they agree, run: "
        f"idiolect consent {shlex.quote(str(store))} --scope {scope} {who}"
    )


def _explain_invalid(consent: Consent | None) -> str:
    """Say why a consent is not valid, for an error message."""
    if consent is None:
        return "never given"
    if consent.revoked:
        return f"revoked on {consent.revoked[:10]}"
    return f"expired on {consent.until}"


def _find_latest_consent(
    person: str, scope: Scope, entries: Sequence[LedgerEntry], at: datetime | None
) -> Consent | None:
    """Replay the events up to ``at`` and return the resulting consent; ``None`` if never given.

    Uses the order of the events, not their times, because clocks are sometimes set back.
    """
    # A consent is valid to the end of its last day in UTC.
    day = (at or datetime.now(UTC)).astimezone(UTC).date()
    since = until = revoked = ""
    for entry in entries:
        if entry.details.get("scope") != scope:
            continue
        if at is not None and datetime.fromisoformat(entry.time) > at:
            continue
        # A new consent replaces an older revocation, and the other way round.
        if entry.event == CONSENTED:
            since, until, revoked = entry.time, str(entry.details.get("until", "")), ""
        elif entry.event == REVOKED:
            revoked = entry.time
    if not since:
        return None
    valid = not revoked and (not until or day <= date.fromisoformat(until))
    return Consent(
        person=person, scope=scope, since=since, until=until, revoked=revoked, valid=valid
    )


def _require_known_scope(scope: str) -> None:
    if scope not in cast("tuple[str, ...]", SCOPES):
        raise UsageError(f"unknown scope {scope!r} of a consent; known: {', '.join(SCOPES)}")
