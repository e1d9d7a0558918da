"""Consents of a store's people: who may be named, and where they are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MissingError, UsageError
from idiolect.privacy.consent import Consent, Scope, consents, grant, revoke
from idiolect.privacy.ledger import Ledger


def consents_in(store: Path) -> tuple[Consent, ...]:
    """See ``api.consents``."""
    return consents(ledger_of(AdapterStore.open(store)))


def record_consent(
    store: Path, people: Sequence[str], scope: Scope, *, until: date | None = None
) -> tuple[Consent, ...]:
    """See ``api.consent``."""
    opened = AdapterStore.open(store)
    names = _named(people)
    for person in names:
        if opened.record(person) is None:
            raise _stranger(opened, person)
    ledger = ledger_of(opened)
    grant(ledger, names, scope, until=until)
    return _of(ledger, names, scope)


def take_consent_back(store: Path, people: Sequence[str], scope: Scope) -> tuple[Consent, ...]:
    """See ``api.consent``."""
    opened = AdapterStore.open(store)
    ledger, names = ledger_of(opened), _named(people)
    known = set(ledger.by_person())
    for person in names:
        if opened.record(person) is None and person not in known:
            raise _stranger(opened, person)
    return _of(ledger, revoke(ledger, names, scope), scope)


def ledger_of(store: AdapterStore) -> Ledger:
    """Where a store's events stand."""
    return Ledger(store.folder / "ledger")


def _named(people: Sequence[str]) -> tuple[str, ...]:
    if not people:
        raise UsageError("a consent is a person's: name at least one (--person)")
    return tuple(dict.fromkeys(people))


def _of(ledger: Ledger, people: Sequence[str], scope: Scope) -> tuple[Consent, ...]:
    chosen = set(people)
    return tuple(c for c in consents(ledger) if c.person in chosen and c.scope == scope)


def _stranger(store: AdapterStore, person: str) -> MissingError:
    people = store.people
    example = f", e.g. {people[0]!r}" if people else ""
    return MissingError(
        f"{store.folder}: nobody named {person!r} among its {len(people)} people{example}"
    )
