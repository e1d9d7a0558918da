"""The LaMP benchmark as published: ``*_questions.json`` with ``*_outputs.json``.

In the user-based split a question is a person; in the time-based one ``user_id`` joins questions.
People of ``train`` files form the split ``other``, those of ``dev`` and ``test`` files ``test``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, MissingError, UsageError
from idiolect.importers.collector import Gatherer, Tally
from idiolect.importers.formats.lamp import records
from idiolect.importers.formats.lamp.merge import Question, merge
from idiolect.importers.formats.lamp.records import Golds
from idiolect.importers.json_stream import iterate_array
from idiolect.importers.parsing import as_list, as_object, as_text
from idiolect.importers.report import FileReport, Imported, Importer, ImportOptions, ImportReport
from idiolect.tasks.task import Task

_NAME = re.compile(
    r"(?:.*[_-])?(?P<split>train|dev|valid|val|test)_questions\.json|(?:.*[_-])?questions\.json",
    re.IGNORECASE,
)
_SPLITS = {"train": "other", "dev": "test", "test": "test", "": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    questions: Path
    outputs: Path | None
    split: str
    """``train``, ``dev``, ``test``, or empty where the name does not say."""


def _find(path: Path) -> list[_File]:
    """The question files at a path: itself, in the folder, or one folder below."""
    if path.is_file():
        path = path.with_name(path.name.replace("outputs", "questions"))
        found = [path] if path.is_file() and _NAME.fullmatch(path.name) else []
    else:
        found = _question_files(path.glob("*.json")) or _question_files(path.glob("*/*.json"))
    files: list[_File] = []
    for questions in found:
        outputs = questions.with_name(questions.name.replace("questions", "outputs"))
        match = _NAME.fullmatch(questions.name)
        split = (match["split"] or "").lower() if match else ""
        files.append(
            _File(
                questions=questions,
                outputs=outputs if outputs.is_file() else None,
                split="dev" if split.startswith("val") else split,
            )
        )
    return files


def _question_files(paths: Iterator[Path]) -> list[Path]:
    return sorted(path for path in paths if _NAME.fullmatch(path.name))


def _load(path: Path | None, options: ImportOptions) -> Imported:
    assert path is not None  # import_histories gives a path where there is no package
    files = [f for f in _find(path) if options.split in ("", f.split)]
    if not files:
        wanted = f"{options.split}_questions.json" if options.split else "*_questions.json"
        raise MissingError(f"{path}: there is no {wanted}")
    splits = [f.split for f in files]
    if len(set(splits)) < len(splits):
        places = ", ".join(sorted(str(f.questions.parent) for f in files))
        raise UsageError(f"{path} holds more than one LaMP task; give one of them: {places}")
    reader = _Reader(options.task, several=len(files) > 1)
    for file in files:
        reader.read(file)
    return reader.imported(path.name)


@dataclass(slots=True)
class _Reader:
    task_name: str
    several: bool
    task: Task | None = None
    people: dict[str, list[Question]] = field(default_factory=dict[str, list[Question]])
    splits: dict[str, str] = field(default_factory=dict[str, str])
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])
    answers: list[FileReport] = field(default_factory=list[FileReport])
    unanswered: int = 0

    def read(self, file: _File) -> None:
        golds = records.read_golds(file.outputs) if file.outputs else None
        tally = Tally(file.questions.name, "history items and queries")
        self.tallies[file.split] = tally
        for line, value in iterate_array(file.questions):
            entry = as_object(value, f"line {line}", file.questions)
            self._question(entry, f"line {line}", file, golds, tally)
        if golds:
            count = Tally(golds.path.name, "answers", read=len(golds.answers))
            self.answers.append(count.report())

    def _question(
        self, entry: dict[str, Any], place: str, file: _File, golds: Golds | None, tally: Tally
    ) -> None:
        path = file.questions
        name = as_text(entry.get("id"), f"{place}, id", path)
        where = f"{place}, question {name}"
        if self.task is None:
            text = as_text(entry.get("input"), f"{where}, input", path)
            self.task = records.find_task(text, golds, named=self.task_name, file=path)
        person = self._whose(entry, name, where, file)
        gold = golds.answers.get(name) if golds else None
        query = records.query(entry, gold, self.task, where=where, file=path, tally=tally)
        profile = as_list(entry.get("profile"), f"{where}, profile", path)
        spots = ((f"{where}, profile[{n}]", value) for n, value in enumerate(profile))
        items = [
            record
            for spot, value in spots
            if (record := records.item(value, self.task, where=spot, file=path, tally=tally))
        ]
        if query is None:
            return
        self.unanswered += gold is None
        self.people.setdefault(person, []).append(Question(query=query, items=tuple(items)))

    def _whose(self, entry: dict[str, Any], name: str, where: str, file: _File) -> str:
        """The person's name; raises DataError for one who stands in two splits."""
        if entry.get("user_id") is None:  # ids start anew in every file
            person = f"{file.split}-{name}" if self.several else name
        else:
            person = as_text(entry["user_id"], f"{where}, user_id", file.questions)
        if self.splits.setdefault(person, file.split) != file.split:
            raise DataError(
                f"{where}: user {person} is in the {self.splits[person]} questions too",
                file=file.questions,
                hint="a time-based split; import one part of it with --split",
            )
        return person

    def imported(self, source: str) -> Imported:
        if self.task is None:
            raise DataError("no questions in it", file=source)
        gatherer = Gatherer()
        for person, questions in self.people.items():
            split = self.splits[person]
            gatherer.person(person, split=_SPLITS[split])
            merge(person, questions, gatherer, self.tallies[split])
        notes = gatherer.notes()
        if self.unanswered:
            notes += (f"queries without an answer, to be predicted only: {self.unanswered:,}",)
        files = tuple(tally.report() for tally in self.tallies.values())
        return Imported(
            importer="lamp",
            source=source,
            task=self.task.name,
            histories=gatherer.histories(),
            report=ImportReport(files=(*files, *self.answers), notes=notes),
            splits=gatherer.splits,
        )


IMPORTER = Importer(
    name="lamp",
    title="the LaMP benchmark, user- or time-based split",
    expects="a task's folder with train_, dev_ or test_questions.json and the _outputs.json, or "
    "one of these files",
    detect=lambda path: bool(_find(path)),
    load=_load,
    options=("task", "split"),
)
