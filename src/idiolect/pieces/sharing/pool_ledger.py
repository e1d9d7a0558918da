"""What a store's ledger says about one pool: who is in it, under which pseudonym, who was refused,
and who withdrew.

Only the ledger links a person to their pseudonym in a pool. This module does not depend on
adapters or audits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from idiolect.pieces.pool.contribution import make_pseudonym
from idiolect.pieces.pool.pool import Pool
from idiolect.privacy.consent import list_consents, revoke_consent
from idiolect.privacy.ledger import Ledger, LedgerEntry

SHARED, REFUSED, WITHDREW = "shared", "refused", "withdrew"
CONSENT_SCOPE = "pieces"


class PoolLedger:
    """The people of one store in one pool."""

    def __init__(self, ledger: Ledger, pool: Pool) -> None:
        self.ledger, self.pool = ledger, pool

    def find_last_events(self) -> dict[str, LedgerEntry]:
        """Return each person's last event about this pool."""
        return {
            person: ours[-1]
            for person, entries in self.ledger.read_by_person().items()
            if (ours := [entry for entry in entries if self._is_of_this_pool(entry)])
        }

    def find_present(self) -> dict[str, str]:
        """Return the pseudonyms of the people who are in the pool, by person."""
        present = set(self.pool.sharers)
        found = {
            p: _get_pseudonym(e) for p, e in self.find_last_events().items() if e.event == SHARED
        }
        return {person: name for person, name in found.items() if name in present}

    def list_all_pseudonyms(self) -> dict[str, tuple[str, ...]]:
        """Return every pseudonym under which a person was ever added to the pool, by person.

        Reads a damaged ledger, too, as far as it can be parsed: pieces can be found to delete them.
        """
        return {
            person: tuple(dict.fromkeys(names))
            for person, entries in self.ledger.read_readable_by_person().items()
            if (
                names := [
                    _get_pseudonym(e)
                    for e in entries
                    if self._is_of_this_pool(e) and e.event == SHARED
                ]
            )
        }

    def assign_pseudonyms(self, people: Sequence[str]) -> dict[str, str]:
        """Return a pseudonym for each of these people, who are not in the pool.

        A person who was refused keeps their pseudonym. A person who withdrew gets a new one,
        because artifacts made of their former pieces name the old one.
        """
        last = self.find_last_events()
        # Keeping the pseudonym keeps one entry per person in the leakage report.
        refused = {p: _get_pseudonym(e) for p, e in last.items() if e.event == REFUSED}
        return {person: refused.get(person) or make_pseudonym() for person in people}

    def get_draw_secrets(self, people: Collection[str]) -> dict[str, str]:
        """Return a stable per-person value that is unknown outside the store, as the seed of
        draws.

        With a public seed and the person's name, others could test names against the shared
        modules.
        """
        found = self.ledger.read_by_person()
        return {person: found[person][0].who for person in people}

    def find_consent_dates(self, people: Collection[str]) -> dict[str, str]:
        """Return the date of the current consent of those of the people who consent now."""
        return {
            consent.person: consent.since
            for consent in list_consents(self.ledger)
            if consent.scope == CONSENT_SCOPE and consent.valid and consent.person in people
        }

    def record_shared(
        self,
        person: str,
        name: str,
        *,
        consented: str,
        sites: int,
        ratio: float,
        overridden: str,
        harm_overridden: str = "",
    ) -> None:
        """Record that a person's pieces go into the pool. Call this before they do."""
        self.ledger.record_event(
            SHARED,
            [person],
            {
                "scope": CONSENT_SCOPE,
                "pool": self.pool.id,
                "as": name,
                "consented": consented,
                "sites": sites,
                "ratio": ratio,
                "overridden": overridden,
                "harm_overridden": harm_overridden,
            },
        )

    def record_refused(self, names: Mapping[str, str], why: str) -> None:
        """Record that people (person to pseudonym) were refused, because their pieces ``leaks`` or
        are ``harmful``."""
        # In the order of the pseudonyms, which says nothing about names.
        for person, name in sorted(names.items(), key=lambda pair: pair[1]):
            details = {"scope": CONSENT_SCOPE, "pool": self.pool.id, "as": name, "why": why}
            self.ledger.record_event(REFUSED, [person], details)

    def record_withdrew(self, person: str, names: Collection[str]) -> None:
        """Record, once per pseudonym, that its pieces are out of the pool, and revoke the
        person's consent to sharing."""
        recorded = {
            _get_pseudonym(e)
            for e in self.ledger.read_entries_of(person)
            if e.event == WITHDREW and e.details.get("pool") == self.pool.id
        }
        # Revoke before recording: after a kill in between, the next call records the event.
        for name in names:
            if name not in recorded:
                revoke_consent(self.ledger, [person], CONSENT_SCOPE)
                details = {"scope": CONSENT_SCOPE, "pool": self.pool.id, "as": name}
                self.ledger.record_event(WITHDREW, [person], details)

    def _is_of_this_pool(self, entry: LedgerEntry) -> bool:
        return entry.event in (SHARED, REFUSED) and entry.details.get("pool") == self.pool.id


def _get_pseudonym(entry: LedgerEntry) -> str:
    return str(entry.details["as"])
