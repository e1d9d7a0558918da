"""Consents of the people in a store, recorded in the store's ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MissingError, UsageError
from idiolect.privacy.consent import (
    Consent,
    Scope,
    grant_consent,
    list_consents,
    repair_ledger,
    revoke_consent,
)
from idiolect.privacy.ledger import Ledger


def list_store_consents(store: Path) -> tuple[Consent, ...]:
    """See ``api.consents``."""
    return list_consents(open_ledger(AdapterStore.open(store)))


def record_consent(
    store: Path, people: Sequence[str], scope: Scope, *, until: date | None = None
) -> tuple[Consent, ...]:
    """See ``api.consent``."""
    opened = AdapterStore.open(store)
    names = _dedupe_people(people)
    for person in names:
        if opened.get_record(person) is None:
            raise _make_unknown_error(opened, person)
    ledger = open_ledger(opened)
    grant_consent(ledger, names, scope, until=until)
    return _select_consents(ledger, names, scope)


def revoke_store_consent(store: Path, people: Sequence[str], scope: Scope) -> tuple[Consent, ...]:
    """See ``api.consent``."""
    opened = AdapterStore.open(store)
    ledger, names = open_ledger(opened), _dedupe_people(people)
    # People who are no longer in the store may still revoke a consent in the ledger.
    known = set(ledger.read_by_person())
    for person in names:
        if opened.get_record(person) is None and person not in known:
            raise _make_unknown_error(opened, person)
    return _select_consents(ledger, revoke_consent(ledger, names, scope), scope)


def repair_store_ledger(store: Path) -> tuple[Consent, ...]:
    """See ``api.repair_ledger``."""
    ledger = open_ledger(AdapterStore.open(store))
    repair_ledger(ledger)
    return list_consents(ledger)


def open_ledger(store: AdapterStore) -> Ledger:
    """Return the ledger of a store's events."""
    return Ledger(store.folder / "ledger")


def _dedupe_people(people: Sequence[str]) -> tuple[str, ...]:
    if not people:
        raise UsageError("name at least one person who consents (--person)")
    return tuple(dict.fromkeys(people))


def _select_consents(ledger: Ledger, people: Sequence[str], scope: Scope) -> tuple[Consent, ...]:
    chosen = set(people)
    return tuple(c for c in list_consents(ledger) if c.person in chosen and c.scope == scope)


def _make_unknown_error(store: AdapterStore, person: str) -> MissingError:
    people = store.people
    example = f", e.g. {people[0]!r}" if people else ""
    return MissingError(
        f"{store.folder}: no person named {person!r} among its {len(people)} people{example}"
    )
