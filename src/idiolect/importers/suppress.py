"""Leaves out of an import the people and records that were forgotten, and counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.errors import MissingError
from idiolect.history.suppress import find_list_beside, open_lists, suppress_histories
from idiolect.importers.report import ImportedHistories
from idiolect.tasks.registry import get_task


def leave_out_forgotten(
    imported: ImportedHistories, files: Sequence[Path], out: Path | None
) -> ImportedHistories:
    """Return an import without what is on the lists, with a note in its report.

    The list beside ``out`` is always used. Raises MissingError if one of ``files`` does not exist.
    """
    for path in files:
        if not path.is_file():
            raise MissingError(f"{path}: no such suppression list")
    lists = open_lists([*files, *((find_list_beside(out),) if out is not None else ())])
    left = suppress_histories(imported.histories, get_task(imported.task), imported.task, lists)
    if not left.people and not left.records:
        return imported
    note = (
        f"left out, because they were forgotten (people: {len(left.people):,}, records: "
        f"{left.records:,}): {', '.join(str(known.path) for known in lists)}"
    )
    kept = {history.person for history in left.histories}
    return replace(
        imported,
        histories=left.histories,
        report=replace(imported.report, notes=(*imported.report.notes, note)),
        splits={person: split for person, split in imported.splits.items() if person in kept},
    )
