"""One person's history and queries, as frozen values in time order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from idiolect.history.interaction import Interaction


@dataclass(frozen=True, slots=True)
class History:
    """What one person wrote or chose (``items``), and what to predict for them (``queries``).

    Both are sorted by (time, source position). A query has the same fields as an item; its target
    field is missing if the answer is unknown.
    """

    person: str
    items: tuple[Interaction, ...]
    queries: tuple[Interaction, ...] = ()

    @staticmethod
    def from_interactions(
        person: str, items: Sequence[Interaction], queries: Sequence[Interaction] = ()
    ) -> History:
        """Sort items and queries and return them as a history."""
        return History(
            person,
            tuple(sorted(items, key=lambda i: i.sort_key)),
            tuple(sorted(queries, key=lambda i: i.sort_key)),
        )

    def compute_fingerprint(self) -> str:
        """Return a hash of the items' order and content (16 hex digits); ignores queries."""
        digest = hashlib.sha256()
        for item in self.items:
            # Separators keep different sequences from giving the same bytes.
            digest.update(
                f"{item.id}\x00{item.sort_key}\x00{item.compute_fingerprint()}\x01".encode()
            )
        return digest.hexdigest()[:16]

    def take_last(self, count: int) -> History:
        """Return the history with at most its last ``count`` items."""
        return replace(self, items=self.items[-count:] if count else ())

    def hold_out(self, count: int) -> History:
        """Turn the last ``count`` items into queries.

        The original queries are dropped, unless ``count`` is 0.
        """
        if count == 0:
            return self
        return History(self.person, self.items[:-count], self.items[-count:])

    def count_visible_to(self, query: Interaction) -> int:
        """Count the items that a query may see: those strictly earlier, or all if it has no
        time."""
        if query.time is None:
            return len(self.items)
        return sum(item.sort_key < query.sort_key for item in self.items)
