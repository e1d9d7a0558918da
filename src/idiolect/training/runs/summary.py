"""Counts of a run of personalization, collected person by person."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from idiolect.adapters.store.store import AdapterRecord
from idiolect.privacy.guarantee import PrivacyGuarantee


@dataclass(frozen=True, kw_only=True)
class PersonalSummary:
    """What a run did: the people by outcome, and totals."""

    trained: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    gated_off: tuple[str, ...] = ()
    """Trained, but the adapter did not help on the held-out items; the base serves them."""
    too_few: tuple[str, ...] = ()
    """Too few usable items; the base serves them."""
    older: tuple[str, ...] = ()
    """Not trained: their current adapter was made from a longer or newer history."""
    forgotten: tuple[str, ...] = ()
    """Not trained: their history holds people or records that were forgotten."""
    unusable_items: int = 0
    """Items left out: no answer, or too long for the prompt."""
    items: int = 0
    tokens: int = 0
    seconds: float = 0.0
    privacy: Mapping[str, PrivacyGuarantee] = field(default_factory=dict[str, PrivacyGuarantee])
    """The guarantee of each person who was trained with differential privacy, or is unchanged."""


@dataclass(slots=True)
class RunCounter:
    """The counts of a run so far."""

    started: float = field(default_factory=time.monotonic)
    trained: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    gated: list[str] = field(default_factory=list)
    too_few: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    people_done: int = 0
    unusable_items: int = 0
    items: int = 0
    tokens: int = 0
    privacy: dict[str, PrivacyGuarantee] = field(default_factory=dict[str, PrivacyGuarantee])

    def record(self, record: AdapterRecord | None) -> None:
        """Count a person as done, by how they are served."""
        self.people_done += 1
        # A person without a record has nothing to report.
        if record is not None and record.served == "too few items":
            self.too_few.append(record.person)
        elif record is not None and record.served == "gated":
            self.gated.append(record.person)
        if record is not None and record.privacy is not None:
            self.privacy[record.person] = record.privacy

    def refuse(self, person: str, group: list[str]) -> None:
        """Count a person as done who is not trained; ``group`` is the list for the reason."""
        self.people_done += 1
        group.append(person)

    def build_summary(self) -> PersonalSummary:
        """Return the counts as a summary."""
        return PersonalSummary(
            trained=tuple(self.trained),
            unchanged=tuple(self.unchanged),
            gated_off=tuple(sorted(self.gated)),
            too_few=tuple(sorted(self.too_few)),
            older=tuple(sorted(self.older)),
            forgotten=tuple(sorted(self.forgotten)),
            unusable_items=self.unusable_items,
            items=self.items,
            tokens=self.tokens,
            seconds=time.monotonic() - self.started,
            privacy=dict(self.privacy),
        )


def merge_summaries(summaries: Sequence[PersonalSummary], *, seconds: float) -> PersonalSummary:
    """Merge the summaries of a run's shards into one of the whole run, which took ``seconds``."""
    return PersonalSummary(
        trained=_merge_people(s.trained for s in summaries),
        unchanged=_merge_people(s.unchanged for s in summaries),
        gated_off=_merge_people(s.gated_off for s in summaries),
        too_few=_merge_people(s.too_few for s in summaries),
        older=_merge_people(s.older for s in summaries),
        forgotten=_merge_people(s.forgotten for s in summaries),
        unusable_items=sum(s.unusable_items for s in summaries),
        items=sum(s.items for s in summaries),
        tokens=sum(s.tokens for s in summaries),
        seconds=seconds,
    )


def _merge_people(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Concatenate groups of people, sorted."""
    return tuple(sorted(person for group in groups for person in group))
