"""The items of one person that an audit attacks. Depends on examples (tokens) only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSubject:
    """One person's items: the members (trained on) and non-members."""

    person: str
    members: Sequence[Example]
    non_members: Sequence[Example]
    unsampled: Sequence[Example] = ()
    """Further members, if ``members`` is a sample. Their texts are searched, and those with risky
    texts are attacked; the membership attack leaves them out."""

    @property
    def trained_items(self) -> tuple[Example, ...]:
        """All items that the artifact was trained on. Findings name items by their number here."""
        return (*self.members, *self.unsampled)

    def split_members(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Return members and non-members without duplicates, for the membership attack; an item
        that was trained on is no non-member."""
        # A dict keeps the order and drops duplicates.
        inside = dict.fromkeys(self.members)
        trained = {*self.trained_items}
        return tuple(inside), tuple(e for e in dict.fromkeys(self.non_members) if e not in trained)
