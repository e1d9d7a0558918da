"""Parses records of the LaMP benchmark from any of its file layouts: profile items and queries.

This module lists the keys of the seven tasks. The wording of the inputs is defined in
``idiolect.tasks``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.errors import DataError
from idiolect.history.dates import to_unix
from idiolect.importers.collector import RawRecord, ReadCounts
from idiolect.importers.parsing import read_json, require_list, require_object, require_text
from idiolect.tasks.registry import get_task, task_names
from idiolect.tasks.task import Task

_EXTRA_FIELDS = {"lamp-1": ("citation",), "lamp-2n": ("title",)}
"""Fields that some releases have in addition to those that the task needs."""
_OPTIONAL_FIELDS = {("lamp-1", "abstract")}
"""The title of a cited paper is enough without the abstract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldLabels:
    """The gold answers by query id, from a ``*_outputs.json`` or ``*_label.json`` file."""

    path: Path
    task: str
    """The task that the file names, e.g. ``LaMP_5``."""
    answers: Mapping[str, str]


def read_gold_labels(path: Path) -> GoldLabels:
    """Read ``{"task": ..., "golds": [{"id", "output"}]}``; raises DataError."""
    content = require_object(read_json(path), "the file", path)
    answers: dict[str, str] = {}
    for place, value in enumerate(require_list(content.get("golds"), "golds", path)):
        where = f"golds[{place}]"
        gold = require_object(value, where, path)
        name = require_text(gold.get("id"), f"{where}.id", path)
        answer = require_text(gold.get("output"), f"{where}.output", path)
        if answers.setdefault(name, answer) != answer:
            raise DataError(f"{where}: the id {name!r} has two different answers", file=path)
    return GoldLabels(
        path=path, task=require_text(content.get("task", ""), "task", path), answers=answers
    )


def find_task(text: str, golds: GoldLabels | None, *, named: str, file: Path) -> Task:
    """Return the task ``named``, or the one whose wording matches an input string.

    Raises DataError if no task has this wording, or if the file of answers belongs to another task.
    """
    task = get_task(named) if named else _find_task_by_wording(text, file)
    number = re.search(r"\d", golds.task) if golds else None
    if golds and number and number.group() not in task.name:
        raise DataError(
            f"the answers are for {golds.task}, but the questions for {task.name}", file=golds.path
        )
    return task


def _find_task_by_wording(text: str, file: Path) -> Task:
    # Several tasks may parse the text; only LaMP's own are candidates.
    for name in task_names():
        task = get_task(name)
        try:
            task.parse_input(text)
        except DataError:
            continue
        if name.startswith("lamp-"):
            return task
    raise DataError(f"no LaMP task has questions like {text[:80]!r}", file=file, hint="give --task")


def parse_item(
    profile_item: Any, task: Task, *, where: str, file: Path, tally: ReadCounts
) -> RawRecord | None:
    """Return a profile item as a record; ``None``, counted as skipped, if it lacks what the task
    needs."""
    entry = require_object(profile_item, where, file)
    fields: dict[str, str] = {}
    # Collect the fields; a missing one is an error only if the task needs it.
    for name in (*task.history_fields, *_EXTRA_FIELDS.get(task.name, ())):
        text = require_text(
            entry.get(name) if entry.get(name) is not None else "", f"{where}.{name}", file
        )
        if text.strip():
            fields[name] = text
        elif name in task.history_fields and (task.name, name) not in _OPTIONAL_FIELDS:
            tally.count_skip(f"an item without {name!r}", where)
            return None
    if task.labeled and not _match_known_answer(task, fields):
        tally.count_skip(f"an item whose {task.target_field!r} is not a choice of the task", where)
        return None
    return RawRecord(
        id=require_text(entry.get("id", ""), f"{where}.id", file) or where,
        fields=fields,
        time=_parse_date(entry, where, file),
        where=where,
    )


def parse_query(
    entry: Mapping[str, Any],
    gold: str | None,
    task: Task,
    *,
    where: str,
    file: Path,
    tally: ReadCounts,
) -> RawRecord | None:
    """Return a question as a record, with its answer if that is known.

    Returns ``None``, counted as skipped, if the answer is not a choice of the task.
    """
    text = require_text(entry.get("input"), f"{where}.input", file)
    try:
        fields = dict(task.parse_input(text))
    except DataError as error:
        raise DataError(f"{where}.input: {error}", file=file) from error
    # The answer becomes the query's target field.
    if gold is not None:
        fields[task.target_field] = gold
        if not _match_known_answer(task, fields):
            tally.count_skip("a query whose answer is not a choice of the task", where)
            return None
    return RawRecord(
        id=require_text(entry.get("id"), f"{where}.id", file),
        fields=fields,
        time=_parse_date(entry, where, file),
        where=where,
    )


def _match_known_answer(task: Task, fields: dict[str, str]) -> bool:
    """Whether the answer is one of the choices, ignoring case; corrects the case in ``fields``.

    For a task without choices: whether the answer is not blank.
    """
    if not task.choices:
        return bool(fields[task.target_field].strip())
    choices = {choice.casefold(): choice for choice in task.choices}
    choice = choices.get(fields[task.target_field].strip().casefold())
    if choice is not None:
        fields[task.target_field] = choice
    return choice is not None


def _parse_date(entry: Mapping[str, Any], where: str, file: Path) -> float | None:
    date = entry.get("date")
    if date is None or date == "":
        return None
    try:
        return to_unix(date)
    except DataError as error:
        raise DataError(f"{where}.date: {error}", file=file) from error
