"""Writes histories as a dataset folder atomically. ``dataset.py`` defines the layout."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, UsageError
from idiolect.history.dataset import (
    FORMAT,
    MANIFEST_FILE,
    PEOPLE_FILE,
    ROWS_FILE,
    VERSION,
    Dataset,
    read_dataset,
)
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.parquet import ParquetRow, RowLocation, RowWriter, write_locations
from idiolect.storage.files import sha256_file, stage_folder, write_json


def write_dataset(
    folder: Path,
    histories: Iterable[History],
    *,
    task: str,
    source: str,
    name: str = "",
    splits: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Write histories as a dataset folder and open it.

    A sequence is sorted by person. Any other iterable must be sorted already and is written as it
    is read, so that it need not fit in memory. ``source`` says where the data comes from,
    ``splits`` maps people to a part of the dataset, ``settings`` is plain data. Raises UsageError
    if the folder exists and ``overwrite`` is not set, DataError if a history could not be read back
    unchanged.
    """
    _require_writable_folder(folder, overwrite)
    if isinstance(histories, Sequence):
        histories = sorted(histories, key=lambda h: h.person)
    # The folder appears under its name only when all files are complete.
    with stage_folder(folder, replace=overwrite) as stage:
        locations = _write_rows(stage / ROWS_FILE, histories, splits or {})
        write_locations(stage / PEOPLE_FILE, locations)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "name": name or folder.name,
            "task": task,
            "source": source,
            "settings": dict(settings or {}),
            "people": len(locations),
            "items": sum(location.items for location in locations),
            "queries": sum(location.queries for location in locations),
            "files": {file: sha256_file(stage / file) for file in (ROWS_FILE, PEOPLE_FILE)},
        }
        write_json(stage / MANIFEST_FILE, manifest)
    dataset = read_dataset(folder)
    # Without overwrite, the faster of two processes wins.
    if dataset.manifest != manifest:
        raise UsageError(f"{folder}: another process has just written a dataset there; check it")
    return dataset


def _require_writable_folder(folder: Path, overwrite: bool) -> None:
    """Allow only a new folder, an empty one, or a dataset: a mistyped name must not destroy
    data."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose another folder for the dataset")
    if any(folder.iterdir()) and not (folder / ROWS_FILE).is_file():
        raise UsageError(f"{folder} contains files but is not a dataset; choose another folder")
    if any(folder.iterdir()) and not overwrite:
        raise UsageError(
            f"{folder} already contains a dataset; choose another folder or allow overwriting"
        )


def _write_rows(
    path: Path, histories: Iterable[History], splits: Mapping[str, str]
) -> list[RowLocation]:
    """Write all rows and return the location of each person's rows."""
    locations: list[RowLocation] = []
    with RowWriter(path) as writer:
        for history in histories:
            # Check before writing: the rows of one person must be valid and in order.
            _check_history(history, locations[-1].person if locations else "")
            group, offset = writer.write_person(_iter_rows(history))
            locations.append(
                RowLocation(
                    person=history.person,
                    split=splits.get(history.person, ""),
                    items=len(history.items),
                    queries=len(history.queries),
                    group=group,
                    offset=offset,
                )
            )
    return locations


def _iter_rows(history: History) -> Iterator[ParquetRow]:
    for kind, interactions in (("item", history.items), ("query", history.queries)):
        for interaction in interactions:
            yield ParquetRow(person=history.person, kind=kind, interaction=interaction)


def _check_history(history: History, last: str) -> None:
    """Raise an error if the history cannot be written; ``last`` is the person before it."""
    person = history.person
    if not person:
        raise DataError("a person without an id cannot be written", hint="give each person an id")
    # Sorted order makes duplicates neighbors.
    if person == last:
        raise DataError(f"person {person!r} appears twice", hint="merge their histories")
    if person < last:
        raise UsageError(f"histories must come sorted by person: {person!r} is after {last!r}")
    _check_interactions(f"person {person!r}, item", history.items)
    _check_interactions(f"person {person!r}, query", history.queries)


def _check_interactions(whose: str, interactions: Sequence[Interaction]) -> None:
    """Check that ids are unique, times finite, and the order is that of (time, position)."""
    seen: set[str] = set()
    for i in interactions:
        if i.id in seen:
            raise DataError(f"{whose} {i.id!r}: the id appears twice", hint="make the ids unique")
        if i.time is not None and not math.isfinite(i.time):
            raise DataError(f"{whose} {i.id!r}: the time is {i.time}", hint="use Unix seconds")
        seen.add(i.id)
    # Reading returns the rows in file order, which must be the order of a history.
    for one, other in pairwise(interactions):
        if one.sort_key >= other.sort_key:
            raise DataError(
                f"{whose}s {one.id!r}, {other.id!r}: not in the order of (time, position)",
                hint="create histories with History.from_interactions",
            )
