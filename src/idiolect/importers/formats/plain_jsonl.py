"""Imports Idiolect's plain JSONL (see ``history/jsonl.py``): items and queries of any task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from idiolect.errors import DataError, UsageError
from idiolect.history.jsonl import HistoryLine, read_lines
from idiolect.importers.collector import HistoryCollector, RawRecord, ReadCounts
from idiolect.importers.parsing import read_start
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions, ImportReport
from idiolect.tasks.registry import get_task, task_names
from idiolect.tasks.task import Task


def _detect_format(path: Path) -> bool:
    if not path.is_file() or path.suffix not in (".jsonl", ".ndjson"):
        return False
    start = read_start(path, 4096)
    return '"person"' in start and '"fields"' in start


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    assert path is not None  # import_histories requires a path for formats without a package
    if not options.task:
        raise UsageError(
            f"{path}: plain JSONL does not name its task; give it with --task, "
            f"one of {', '.join(task_names())}"
        )
    task = get_task(options.task)
    collector, tally, numbers = (
        HistoryCollector(),
        ReadCounts(path.name, "items and queries"),
        Counter[str](),
    )
    for line in read_lines(path):
        numbers[line.person] += 1
        _require_same_split(line, collector, path)
        collector.add_person(line.person, split=line.split)
        lacking = _find_missing_field(line, task)
        if lacking:
            tally.count_skip(f"{line.kind} without {lacking!r}", f"line {line.number}")
            continue
        # Lines without an id are numbered per person, counting skipped lines too.
        record = RawRecord(
            id=line.id or str(numbers[line.person]),
            fields=line.fields,
            time=line.time,
            voices=line.voices,
            where=f"line {line.number}",
        )
        add = collector.add_item if line.kind == "item" else collector.add_query
        add(line.person, record, tally)
    if not numbers:
        raise DataError("the file is empty", file=path)
    return ImportedHistories(
        importer="jsonl",
        source=path.name,
        task=task.name,
        histories=collector.build_histories(),
        report=ImportReport(files=(tally.to_report(),), notes=collector.build_notes()),
        splits=collector.splits,
    )


def _require_same_split(line: HistoryLine, collector: HistoryCollector, path: Path) -> None:
    """Raise DataError if an earlier line puts the person into another split."""
    before = collector.splits.get(line.person, line.split)
    if line.split and before != line.split:
        raise DataError(
            f"{line.person!r} is in split {line.split!r} here, but in {before!r} above",
            file=path,
            line=line.number,
        )


def _find_missing_field(line: HistoryLine, task: Task) -> str:
    """Return the first field that the task needs and the line lacks; empty if there is none."""
    needed = task.history_fields if line.kind == "item" else task.input_fields
    return next((name for name in needed if not line.fields.get(name, "").strip()), "")


IMPORTER = Importer(
    name="jsonl",
    title="Idiolect's plain JSONL",
    expects='a .jsonl file with one {"person", "fields", ...} a line, and the task\'s name',
    detect=_detect_format,
    load=_load_histories,
    options=("task",),
)
