"""Imports the LaMP benchmark as published: ``*_questions.json`` with ``*_outputs.json``.

In the user-based split, each question is a person. In the time-based split, ``user_id`` joins the
questions of a person. People of ``train`` files form the split ``other``, those of ``dev`` and
``test`` files the split ``test``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, MissingError, UsageError
from idiolect.importers.collector import HistoryCollector, ReadCounts
from idiolect.importers.formats.lamp import records
from idiolect.importers.formats.lamp.merge import Question, merge_questions
from idiolect.importers.formats.lamp.records import GoldLabels
from idiolect.importers.json_stream import iter_array
from idiolect.importers.parsing import require_list, require_object, require_text
from idiolect.importers.report import (
    FileReport,
    ImportedHistories,
    Importer,
    ImportOptions,
    ImportReport,
)
from idiolect.tasks.task import Task

_QUESTIONS_NAME = re.compile(
    r"(?:.*[_-])?(?P<split>train|dev|valid|val|test)_questions\.json|(?:.*[_-])?questions\.json",
    re.IGNORECASE,
)
_SPLITS = {"train": "other", "dev": "test", "test": "test", "": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuestionFile:
    """One file of questions, and the file with their answers."""

    questions: Path
    outputs: Path | None
    split: str
    """``train``, ``dev``, ``test``, or empty if the name does not say."""


def _find_files(path: Path) -> list[_QuestionFile]:
    """Find the question files: the path itself, in the folder, or one folder below."""
    if path.is_file():
        # A file of answers selects its file of questions.
        path = path.with_name(path.name.replace("outputs", "questions"))
        found = [path] if path.is_file() and _QUESTIONS_NAME.fullmatch(path.name) else []
    else:
        found = _list_question_files(path.glob("*.json")) or _list_question_files(
            path.glob("*/*.json")
        )
    files: list[_QuestionFile] = []
    for questions in found:
        outputs = questions.with_name(questions.name.replace("questions", "outputs"))
        match = _QUESTIONS_NAME.fullmatch(questions.name)
        split = (match["split"] or "").lower() if match else ""
        files.append(
            _QuestionFile(
                questions=questions,
                outputs=outputs if outputs.is_file() else None,
                split="dev" if split.startswith("val") else split,
            )
        )
    return files


def _list_question_files(paths: Iterator[Path]) -> list[Path]:
    return sorted(path for path in paths if _QUESTIONS_NAME.fullmatch(path.name))


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    assert path is not None  # import_histories requires a path for formats without a package
    files = [f for f in _find_files(path) if options.split in ("", f.split)]
    if not files:
        wanted = f"{options.split}_questions.json" if options.split else "*_questions.json"
        raise MissingError(f"{path}: no {wanted} found")
    # Two files of one split belong to different tasks.
    splits = [f.split for f in files]
    if len(set(splits)) < len(splits):
        places = ", ".join(sorted(str(f.questions.parent) for f in files))
        raise UsageError(f"{path} contains more than one LaMP task; give one of them: {places}")
    reader = _QuestionReader(options.task, several=len(files) > 1)
    for file in files:
        reader.read_file(file)
    return reader.build_result(path.name)


@dataclass(slots=True)
class _QuestionReader:
    """Reads question files and collects the questions per person.

    ``several``: more than one file is read, so ids are prefixed with the split.
    """

    task_name: str
    several: bool
    task: Task | None = None
    people: dict[str, list[Question]] = field(default_factory=dict[str, list[Question]])
    splits: dict[str, str] = field(default_factory=dict[str, str])
    tallies: dict[str, ReadCounts] = field(default_factory=dict[str, ReadCounts])
    answers: list[FileReport] = field(default_factory=list[FileReport])
    unanswered: int = 0

    def read_file(self, file: _QuestionFile) -> None:
        """Read one file of questions with its answers."""
        golds = records.read_gold_labels(file.outputs) if file.outputs else None
        tally = ReadCounts(file.questions.name, "history items and queries")
        self.tallies[file.split] = tally
        for line, value in iter_array(file.questions):
            entry = require_object(value, f"line {line}", file.questions)
            self._read_question(entry, f"line {line}", file, golds, tally)
        if golds:
            count = ReadCounts(golds.path.name, "answers", read=len(golds.answers))
            self.answers.append(count.to_report())

    def _read_question(
        self,
        entry: dict[str, Any],
        place: str,
        file: _QuestionFile,
        golds: GoldLabels | None,
        tally: ReadCounts,
    ) -> None:
        """Read one question and its profile, and add them to the person."""
        path = file.questions
        name = require_text(entry.get("id"), f"{place}, id", path)
        where = f"{place}, question {name}"
        # The first question determines the task of all.
        if self.task is None:
            text = require_text(entry.get("input"), f"{where}, input", path)
            self.task = records.find_task(text, golds, named=self.task_name, file=path)
        person = self._identify_person(entry, name, where, file)
        gold = golds.answers.get(name) if golds else None
        # Parse the query and the whole profile before deciding, so that all skips are counted.
        query = records.parse_query(entry, gold, self.task, where=where, file=path, tally=tally)
        profile = require_list(entry.get("profile"), f"{where}, profile", path)
        spots = ((f"{where}, profile[{n}]", value) for n, value in enumerate(profile))
        items = [
            record
            for spot, value in spots
            if (record := records.parse_item(value, self.task, where=spot, file=path, tally=tally))
        ]
        if query is None:
            return
        self.unanswered += gold is None
        self.people.setdefault(person, []).append(Question(query=query, items=tuple(items)))

    def _identify_person(
        self, entry: dict[str, Any], name: str, where: str, file: _QuestionFile
    ) -> str:
        """Return the person's id; raises DataError for a person in two splits."""
        # Without a user id the question id is the person; these ids restart in every file.
        if entry.get("user_id") is None:
            person = f"{file.split}-{name}" if self.several else name
        else:
            person = require_text(entry["user_id"], f"{where}, user_id", file.questions)
        if self.splits.setdefault(person, file.split) != file.split:
            raise DataError(
                f"{where}: user {person} is also in the {self.splits[person]} questions",
                file=file.questions,
                hint="this is a time-based split; import one part of it with --split",
            )
        return person

    def build_result(self, source: str) -> ImportedHistories:
        """Merge each person's questions and return the histories of all people."""
        if self.task is None:
            raise DataError("the file contains no questions", file=source)
        collector = HistoryCollector()
        for person, questions in self.people.items():
            split = self.splits[person]
            collector.add_person(person, split=_SPLITS[split])
            merge_questions(person, questions, collector, self.tallies[split])
        notes = collector.build_notes()
        if self.unanswered:
            notes += (f"queries without an answer (prediction only): {self.unanswered:,}",)
        files = tuple(tally.to_report() for tally in self.tallies.values())
        return ImportedHistories(
            importer="lamp",
            source=source,
            task=self.task.name,
            histories=collector.build_histories(),
            report=ImportReport(files=(*files, *self.answers), notes=notes),
            splits=collector.splits,
        )


IMPORTER = Importer(
    name="lamp",
    title="the LaMP benchmark, user- or time-based split",
    expects="a task's folder with train_, dev_ or test_questions.json and the _outputs.json, or "
    "one of these files",
    detect=lambda path: bool(_find_files(path)),
    load=_load_histories,
    options=("task", "split"),
)
