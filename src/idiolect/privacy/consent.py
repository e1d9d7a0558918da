"""Who agreed to share what, until when: events of a ledger, and what they come to.

The last event of a person and a scope counts: ``consented`` or ``revoked``. Knows the ledger; knows
nothing of what is shared. Nothing made of a person's adapter leaves a store without a valid one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, cast, get_args

from idiolect.errors import MissingError, UsageError
from idiolect.privacy.ledger import Ledger, LedgerEntry

Scope = Literal["pieces", "mean"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What one can agree to: that pieces of one's adapter go into a pool, that it enters a mean."""
CONSENTED, REVOKED = "consented", "revoked"
_MAX_NAMED_PEOPLE = 5
"""People that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What one person said last about one scope."""

    person: str
    scope: Scope
    since: str
    """When they agreed: UTC, ISO 8601."""
    until: str
    """The last day (UTC) on which it holds; empty where it has no end."""
    revoked: str
    """When they took it back; empty where they did not."""
    valid: bool
    """Whether it holds at the time that was asked about."""


def grant_consent(
    ledger: Ledger, people: Sequence[str], scope: Scope, *, until: date | None = None
) -> None:
    """Record that these people agree, from now to the end of the day ``until`` (UTC).

    It replaces what they said before of that scope. Raises UsageError for an unknown scope and a
    day that has passed.
    """
    _require_known_scope(scope)
    today = datetime.now(UTC).date()
    if until is not None and until < today:
        raise UsageError(f"until {until}: has passed, today is {today} (UTC); name a later day")
    ledger.record_event(CONSENTED, people, {"scope": scope, "until": str(until or "")})


def revoke_consent(ledger: Ledger, people: Sequence[str], scope: Scope) -> tuple[str, ...]:
    """Record that these people take their consent back; gives those who had one to take back."""
    _require_known_scope(scope)
    given = {c.person for c in list_consents(ledger) if c.scope == scope and not c.revoked}
    found = tuple(person for person in people if person in given)
    ledger.record_event(REVOKED, found, {"scope": scope})
    return found


def list_consents(ledger: Ledger, *, at: datetime | None = None) -> tuple[Consent, ...]:
    """Everyone's consents, by person and scope; ``at`` (with a zone) is now unless told.

    People whose pseudonym was destroyed are not among them.
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
    """Raise MissingError where somebody's consent to a scope does not hold, with what to run.

    ``store`` is the folder whose ledger it is.
    """
    _require_known_scope(scope)
    said = {c.person: c for c in list_consents(ledger, at=at) if c.scope == scope}
    lacking = [p for p in dict.fromkeys(people) if p not in said or not said[p].valid]
    if not lacking:
        return
    named = ", ".join(
        f"{p!r} ({_explain_invalid(said.get(p))})" for p in lacking[:_MAX_NAMED_PEOPLE]
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
        f"{store}: no valid consent to scope {scope!r} of {named}{more}; where they agree, run: "
        f"idiolect consent {shlex.quote(str(store))} --scope {scope} {who}"
    )


def _explain_invalid(consent: Consent | None) -> str:
    if consent is None:
        return "never given"
    if consent.revoked:
        return f"taken back on {consent.revoked[:10]}"
    return f"ended on {consent.until}"


def _find_latest_consent(
    person: str, scope: Scope, entries: Sequence[LedgerEntry], at: datetime | None
) -> Consent | None:
    """What the events up to ``at`` come to; by their order, since clocks are set back at times."""
    day = (at or datetime.now(UTC)).astimezone(UTC).date()
    since = until = revoked = ""
    for entry in entries:
        if entry.details.get("scope") != scope:
            continue
        if at is not None and datetime.fromisoformat(entry.time) > at:
            continue
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
