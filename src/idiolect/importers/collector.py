"""Collects the records of many people into histories and counts what is skipped. Independent
of formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.jsonl import replace_surrogates
from idiolect.importers.report import FileReport, SkippedRecords


@dataclass(slots=True)
class ReadCounts:
    """Counts what was read from one file and what was skipped."""

    file: str
    unit: str
    read: int = 0
    _skips: dict[str, SkippedRecords] = field(default_factory=dict[str, SkippedRecords])

    def count_skip(self, reason: str, where: str) -> None:
        """Count one skipped record; keeps the place of the first one per reason."""
        seen = self._skips.get(reason)
        self._skips[reason] = SkippedRecords(
            reason=reason,
            count=(seen.count if seen else 0) + 1,
            first=seen.first if seen else where,
        )

    def to_report(self) -> FileReport:
        """Return the current counts as a value."""
        return FileReport(
            file=self.file, unit=self.unit, read=self.read, skipped=tuple(self._skips.values())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """One item or query as an importer read it; ``where`` is its place in the file."""

    id: str
    fields: Mapping[str, str]
    where: str
    time: float | None = None
    voices: tuple[str, ...] = ()


@dataclass(slots=True)
class _PersonRecords:
    """One person's items or queries in source order, with unique ids."""

    records: list[Interaction] = field(default_factory=list[Interaction])
    same_id: dict[str, list[Interaction]] = field(default_factory=dict[str, list[Interaction]])
    used_ids: set[str] = field(default_factory=set[str])

    def reserve_id(self, wanted: str) -> str:
        """Return an unused id: ``wanted``, or ``wanted#2``, ``wanted#3``, ..."""
        name, copy = wanted, 2
        while name in self.used_ids:
            name, copy = f"{wanted}#{copy}", copy + 1
        self.used_ids.add(name)
        return name


@dataclass(slots=True)
class HistoryCollector:
    """Collects people's items and queries; positions follow the order in which they are added.

    A record that occurs twice (same id, time and fields) is skipped. A different record under an id
    that the person already has is kept as ``ID#2``.
    """

    splits: dict[str, str] = field(default_factory=dict[str, str])
    renamed_count: int = 0
    """The number of records that got another id because theirs was in use."""
    _items: dict[str, _PersonRecords] = field(default_factory=dict[str, _PersonRecords])
    _queries: dict[str, _PersonRecords] = field(default_factory=dict[str, _PersonRecords])

    def add_item(self, person: str, record: RawRecord, tally: ReadCounts) -> None:
        """Add one history item."""
        self._add_record(self._items, person, record, tally)

    def add_query(self, person: str, record: RawRecord, tally: ReadCounts) -> None:
        """Add one query."""
        self._add_record(self._queries, person, record, tally)

    def add_person(self, person: str, *, split: str = "") -> None:
        """Make sure that a person is included, even without records."""
        self._items.setdefault(replace_surrogates(person), _PersonRecords())
        if split:
            self.splits[replace_surrogates(person)] = split

    def _add_record(
        self, kind: dict[str, _PersonRecords], person: str, record: RawRecord, tally: ReadCounts
    ) -> None:
        rows = kind.setdefault(replace_surrogates(person), _PersonRecords())
        fields = {
            replace_surrogates(name): replace_surrogates(text)
            for name, text in record.fields.items()
        }
        # Only records with the same source id can be duplicates.
        wanted = replace_surrogates(record.id)
        same_id = rows.same_id.setdefault(wanted, [])
        if any(r.fields == fields and r.time == record.time for r in same_id):
            tally.count_skip("a duplicate of an earlier record", record.where)
            return
        name = rows.reserve_id(wanted)
        self.renamed_count += name != wanted
        kept = Interaction(
            id=name,
            position=len(rows.records),
            fields=fields,
            time=record.time,
            voices=tuple(map(replace_surrogates, record.voices)),
        )
        same_id.append(kept)
        rows.records.append(kept)
        tally.read += 1

    def build_histories(self) -> tuple[History, ...]:
        """Return the histories of all people, sorted by person; queries come after all items."""
        return tuple(
            self._build_history(person) for person in sorted({*self._items, *self._queries})
        )

    def _build_history(self, person: str) -> History:
        # Queries come after the items in source order, so that they see all of them unless times
        # differ.
        items = self._items.get(person, _PersonRecords()).records
        queries = self._queries.get(person, _PersonRecords()).records
        queries_after = [replace(q, position=len(items) + q.position) for q in queries]
        return History.from_interactions(person, items, queries_after)

    def build_notes(self) -> tuple[str, ...]:
        """Return what the collector decided, as sentences for the report."""
        if not self.renamed_count:
            return ()
        return (
            "records with an id that the person already has, "
            f"kept as ID#2, ID#3, ...: {self.renamed_count:,}",
        )
