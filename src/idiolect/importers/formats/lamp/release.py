"""What the OPPU and Per-Pcs releases share: files of ``{user_id, profile, query}`` per person.

Which file holds whom is the layouts' (``oppu.py``, ``perpcs.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.errors import DataError
from idiolect.importers.collector import Gatherer, Tally
from idiolect.importers.formats.lamp import records
from idiolect.importers.formats.lamp.records import Golds
from idiolect.importers.json_stream import iterate_array
from idiolect.importers.parsing import as_list, as_object, as_text
from idiolect.importers.report import FileReport, Imported, ImportOptions, ImportReport
from idiolect.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of people, the split they form, and the file of their answers."""

    file: Path
    split: str
    labels: Path | None = None


def import_release(
    importer: str, folder: Path, parts: list[Part], options: ImportOptions
) -> Imported:
    """Read a release's parts into histories, each person with the split of their part."""
    reader = _Reader(options.task)
    reader.read(parts)
    assert reader.task is not None
    return Imported(
        importer=importer,
        source=folder.name,
        task=reader.task.name,
        histories=reader.gatherer.histories(),
        report=ImportReport(files=tuple(reader.reports), notes=reader.notes()),
        splits=reader.gatherer.splits,
    )


@dataclass(slots=True)
class _Reader:
    """Reads parts one after another; someone in two parts belongs to the first one read."""

    task_name: str
    gatherer: Gatherer = field(default_factory=Gatherer)
    reports: list[FileReport] = field(default_factory=list[FileReport])
    task: Task | None = None
    _seen: set[str] = field(default_factory=set[str])
    _unanswered: int = 0
    _disagreeing: int = 0

    def read(self, parts: Sequence[Part]) -> None:
        """Read every part; raises DataError with file and place."""
        for part in parts:
            golds = records.read_golds(part.labels) if part.labels else None
            tally = Tally(part.file.name, "history items and queries")
            for line, value in iterate_array(part.file):
                self._person(value, f"line {line}", part, golds, tally)
            self.reports.append(tally.report())
            if golds:
                answers = Tally(golds.path.name, "answers", read=len(golds.answers))
                self.reports.append(answers.report())
        if self.task is None:
            raise DataError("no queries, so the task is not known", file=parts[0].file)

    def _person(
        self, value: Any, place: str, part: Part, golds: Golds | None, tally: Tally
    ) -> None:
        entry = as_object(value, place, part.file)
        person = as_text(entry.get("user_id"), f"{place}, user_id", part.file)
        if not person.strip():
            raise DataError(f"{place}: the user_id is empty", file=part.file)
        where = f"{place}, user {person}"
        profile = as_list(entry.get("profile"), f"{where}, profile", part.file)
        queries = as_list(entry.get("query"), f"{where}, query", part.file)
        if person in self._seen:
            tally.skip("a person who stands in an earlier place, whole", where)
            return
        self._seen.add(person)
        if not profile and not queries:
            tally.skip("a person with neither history nor query", where)
            return
        task = self._find_task(queries, golds, where, part.file)
        self.gatherer.person(person, split=part.split)
        for number, item in enumerate(profile):
            spot = f"{where}, profile[{number}]"
            record = records.item(item, task, where=spot, file=part.file, tally=tally)
            if record:
                self.gatherer.item(person, record, tally)
        for number, query in enumerate(queries):
            spot = f"{where}, query[{number}]"
            question = as_object(query, spot, part.file)
            gold = self._gold(question, golds, spot, part.file)
            record = records.query(question, gold, task, where=spot, file=part.file, tally=tally)
            if record:
                self.gatherer.query(person, record, tally)

    def _find_task(self, queries: list[Any], golds: Golds | None, where: str, file: Path) -> Task:
        if self.task is None:
            if not queries and not self.task_name:
                raise DataError(
                    f"{where}: no query, so the task is not known", file=file, hint="give --task"
                )
            first = as_object(queries[0], f"{where}, query[0]", file) if queries else {}
            text = as_text(first.get("input"), f"{where}, query[0].input", file) if queries else ""
            self.task = records.find_task(text, golds, named=self.task_name, file=file)
        return self.task

    def _gold(
        self, question: dict[str, Any], golds: Golds | None, where: str, file: Path
    ) -> str | None:
        """The answer in the file of answers, else the query's own."""
        own = question.get("gold", question.get("output"))
        text = None if own is None else as_text(own, f"{where}.gold", file)
        name = as_text(question.get("id"), f"{where}.id", file)
        gold = golds.answers.get(name, text) if golds else text
        self._unanswered += gold is None
        self._disagreeing += text is not None and gold != text
        return gold

    def notes(self) -> tuple[str, ...]:
        """What was decided on the way, as sentences."""
        notes = self.gatherer.notes()
        if self._unanswered:
            notes += (f"queries without an answer, to be predicted only: {self._unanswered:,}",)
        if self._disagreeing:
            notes += (
                "queries with another answer than the file of answers, whose answer was taken: "
                f"{self._disagreeing:,}",
            )
        return notes
