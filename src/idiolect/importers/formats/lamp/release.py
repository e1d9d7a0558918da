"""Reads what the OPPU and Per-Pcs releases share: files of ``{user_id, profile, query}`` per
person.

``oppu.py`` and ``perpcs.py`` know which file contains which people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.errors import DataError
from idiolect.importers.collector import HistoryCollector, ReadCounts
from idiolect.importers.formats.lamp import records
from idiolect.importers.formats.lamp.records import GoldLabels
from idiolect.importers.json_stream import iter_array
from idiolect.importers.parsing import require_list, require_object, require_text
from idiolect.importers.report import FileReport, ImportedHistories, ImportOptions, ImportReport
from idiolect.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePart:
    """One file of people, the split they form, and the file with their answers."""

    file: Path
    split: str
    labels: Path | None = None


def import_release(
    importer: str, folder: Path, parts: list[ReleasePart], options: ImportOptions
) -> ImportedHistories:
    """Read the parts of a release into histories; each person gets the split of their part."""
    reader = _ReleaseReader(options.task)
    reader.read_parts(parts)
    assert reader.task is not None
    return ImportedHistories(
        importer=importer,
        source=folder.name,
        task=reader.task.name,
        histories=reader.collector.build_histories(),
        report=ImportReport(files=tuple(reader.reports), notes=reader.build_notes()),
        splits=reader.collector.splits,
    )


@dataclass(slots=True)
class _ReleaseReader:
    """Reads parts one after another. A person in two parts belongs to the first one."""

    task_name: str
    collector: HistoryCollector = field(default_factory=HistoryCollector)
    reports: list[FileReport] = field(default_factory=list[FileReport])
    task: Task | None = None
    _seen: set[str] = field(default_factory=set[str])
    _unanswered: int = 0
    _disagreeing: int = 0

    def read_parts(self, parts: Sequence[ReleasePart]) -> None:
        """Read every part; raises DataError with file and place."""
        for part in parts:
            golds = records.read_gold_labels(part.labels) if part.labels else None
            tally = ReadCounts(part.file.name, "history items and queries")
            for line, value in iter_array(part.file):
                self._read_person(value, f"line {line}", part, golds, tally)
            self.reports.append(tally.to_report())
            if golds:
                answers = ReadCounts(golds.path.name, "answers", read=len(golds.answers))
                self.reports.append(answers.to_report())
        if self.task is None:
            raise DataError("no queries, so the task is unknown", file=parts[0].file)

    def _read_person(
        self, value: Any, place: str, part: ReleasePart, golds: GoldLabels | None, tally: ReadCounts
    ) -> None:
        """Read one person's profile and queries."""
        entry = require_object(value, place, part.file)
        person = require_text(entry.get("user_id"), f"{place}, user_id", part.file)
        if not person.strip():
            raise DataError(f"{place}: the user_id is empty", file=part.file)
        where = f"{place}, user {person}"
        profile = require_list(entry.get("profile"), f"{where}, profile", part.file)
        queries = require_list(entry.get("query"), f"{where}, query", part.file)
        # Skip people of an earlier part, and people without data.
        if person in self._seen:
            tally.count_skip("a person who is already in an earlier part", where)
            return
        self._seen.add(person)
        if not profile and not queries:
            tally.count_skip("a person with neither history nor query", where)
            return
        # The first query of the file determines the task.
        task = self._find_task(queries, golds, where, part.file)
        self.collector.add_person(person, split=part.split)
        for number, item in enumerate(profile):
            spot = f"{where}, profile[{number}]"
            record = records.parse_item(item, task, where=spot, file=part.file, tally=tally)
            if record:
                self.collector.add_item(person, record, tally)
        for number, query in enumerate(queries):
            spot = f"{where}, query[{number}]"
            question = require_object(query, spot, part.file)
            # Answers come from the label file, or from the query itself.
            gold = self._find_gold(question, golds, spot, part.file)
            record = records.parse_query(
                question, gold, task, where=spot, file=part.file, tally=tally
            )
            if record:
                self.collector.add_query(person, record, tally)

    def _find_task(
        self, queries: list[Any], golds: GoldLabels | None, where: str, file: Path
    ) -> Task:
        """Return the task, determined by the first person's first query unless it was named."""
        if self.task is None:
            if not queries and not self.task_name:
                raise DataError(
                    f"{where}: no query, so the task is unknown", file=file, hint="give --task"
                )
            first = require_object(queries[0], f"{where}, query[0]", file) if queries else {}
            text = (
                require_text(first.get("input"), f"{where}, query[0].input", file)
                if queries
                else ""
            )
            self.task = records.find_task(text, golds, named=self.task_name, file=file)
        return self.task

    def _find_gold(
        self, question: dict[str, Any], golds: GoldLabels | None, where: str, file: Path
    ) -> str | None:
        """Return the answer in the label file, or else the query's own."""
        own = question.get("gold", question.get("output"))
        text = None if own is None else require_text(own, f"{where}.gold", file)
        name = require_text(question.get("id"), f"{where}.id", file)
        gold = golds.answers.get(name, text) if golds else text
        self._unanswered += gold is None
        self._disagreeing += text is not None and gold != text
        return gold

    def build_notes(self) -> tuple[str, ...]:
        """Return what the reader decided, as sentences for the report."""
        notes = self.collector.build_notes()
        if self._unanswered:
            notes += (f"queries without an answer (prediction only): {self._unanswered:,}",)
        if self._disagreeing:
            notes += (
                "queries whose own answer differs from the label file, which was used: "
                f"{self._disagreeing:,}",
            )
        return notes
