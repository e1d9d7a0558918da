"""Collects records of many people into histories, and counts what is left out; knows no format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.jsonl import whole_text
from idiolect.importers.report import FileReport, Skip


@dataclass(slots=True)
class Tally:
    """Counts what one file gave while it is read."""

    file: str
    unit: str
    read: int = 0
    _skips: dict[str, Skip] = field(default_factory=dict[str, Skip])

    def skip(self, reason: str, where: str) -> None:
        """Count one record left out."""
        seen = self._skips.get(reason)
        self._skips[reason] = Skip(
            reason=reason,
            count=(seen.count if seen else 0) + 1,
            first=seen.first if seen else where,
        )

    def report(self) -> FileReport:
        """The counts so far, as a value."""
        return FileReport(
            file=self.file, unit=self.unit, read=self.read, skipped=tuple(self._skips.values())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One item or query as an importer found it; ``where`` is its place in the file."""

    id: str
    fields: Mapping[str, str]
    where: str
    time: float | None = None
    voices: tuple[str, ...] = ()


@dataclass(slots=True)
class _Rows:
    """One person's records of one kind, in source order, with ids that are one of a kind."""

    records: list[Interaction] = field(default_factory=list[Interaction])
    same_id: dict[str, list[Interaction]] = field(default_factory=dict[str, list[Interaction]])
    taken: set[str] = field(default_factory=set[str])

    def free_id(self, wanted: str) -> str:
        name, copy = wanted, 2
        while name in self.taken:
            name, copy = f"{wanted}#{copy}", copy + 1
        self.taken.add(name)
        return name


@dataclass(slots=True)
class Gatherer:
    """People's items and queries as they come; positions follow the order of arrival.

    The same record twice (same id, time and fields) is skipped; another record under an id that
    the person has already is kept as ``ID#2``.
    """

    splits: dict[str, str] = field(default_factory=dict[str, str])
    renamed: int = 0
    """How many records got another id because theirs was taken."""
    _items: dict[str, _Rows] = field(default_factory=dict[str, _Rows])
    _queries: dict[str, _Rows] = field(default_factory=dict[str, _Rows])

    def item(self, person: str, record: Record, tally: Tally) -> None:
        """Add one history item."""
        self._add(self._items, person, record, tally)

    def query(self, person: str, record: Record, tally: Tally) -> None:
        """Add one query."""
        self._add(self._queries, person, record, tally)

    def person(self, person: str, *, split: str = "") -> None:
        """Make sure that someone is there, with or without a record."""
        self._items.setdefault(whole_text(person), _Rows())
        if split:
            self.splits[whole_text(person)] = split

    def _add(self, kind: dict[str, _Rows], person: str, record: Record, tally: Tally) -> None:
        rows = kind.setdefault(whole_text(person), _Rows())
        fields = {whole_text(name): whole_text(text) for name, text in record.fields.items()}
        wanted = whole_text(record.id)
        same_id = rows.same_id.setdefault(wanted, [])
        if any(r.fields == fields and r.time == record.time for r in same_id):
            tally.skip("the same record stands there twice", record.where)
            return
        name = rows.free_id(wanted)
        self.renamed += name != wanted
        kept = Interaction(
            id=name,
            position=len(rows.records),
            fields=fields,
            time=record.time,
            voices=tuple(map(whole_text, record.voices)),
        )
        same_id.append(kept)
        rows.records.append(kept)
        tally.read += 1

    def histories(self) -> tuple[History, ...]:
        """Everyone's history, sorted by person; queries stand after all items."""
        return tuple(self._history(person) for person in sorted({*self._items, *self._queries}))

    def _history(self, person: str) -> History:
        items = self._items.get(person, _Rows()).records
        queries = self._queries.get(person, _Rows()).records
        behind = [replace(q, position=len(items) + q.position) for q in queries]
        return History.of(person, items, behind)

    def notes(self) -> tuple[str, ...]:
        """What was decided on the way, as sentences."""
        if not self.renamed:
            return ()
        return (
            "records under an id that another one of the same person has, "
            f"kept as ID#2, ID#3, ...: {self.renamed:,}",
        )
