"""Writes histories as a dataset folder, whole or not at all; the layout is ``dataset.py``'s."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, UsageError
from idiolect.history.dataset import (
    FORMAT,
    MANIFEST,
    PEOPLE,
    ROWS,
    VERSION,
    Dataset,
    read_dataset,
)
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.parquet import Place, Row, RowWriter, write_places
from idiolect.storage.files import sha256_file, staged_folder, write_json


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

    A sequence is sorted by person; any other iterable must come sorted and is written as it comes,
    so that it need not fit in memory. ``source`` says where the data is from, ``splits`` gives
    people a part of the dataset, ``settings`` is plain data.
    Raises UsageError where the folder is there already and ``overwrite`` is not given, DataError
    for a history that could not be read back as it is.
    """
    _require_place(folder, overwrite)
    if isinstance(histories, Sequence):
        histories = sorted(histories, key=lambda h: h.person)
    with staged_folder(folder, replace=overwrite) as stage:
        places = _write_rows(stage / ROWS, histories, splits or {})
        write_places(stage / PEOPLE, places)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "name": name or folder.name,
            "task": task,
            "source": source,
            "settings": dict(settings or {}),
            "people": len(places),
            "items": sum(place.items for place in places),
            "queries": sum(place.queries for place in places),
            "files": {file: sha256_file(stage / file) for file in (ROWS, PEOPLE)},
        }
        write_json(stage / MANIFEST, manifest)
    dataset = read_dataset(folder)
    if dataset.manifest != manifest:  # without overwrite the faster process wins
        raise UsageError(f"{folder}: another process has just written a dataset there; look at it")
    return dataset


def _require_place(folder: Path, overwrite: bool) -> None:
    """Only a dataset or an empty folder is ever replaced: a mistyped name must not cost data."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose another folder for the dataset")
    if any(folder.iterdir()) and not (folder / ROWS).is_file():
        raise UsageError(f"{folder} holds something that is no dataset; choose another folder")
    if any(folder.iterdir()) and not overwrite:
        raise UsageError(
            f"{folder} holds a dataset already; choose another folder or allow overwriting it"
        )


def _write_rows(path: Path, histories: Iterable[History], splits: Mapping[str, str]) -> list[Place]:
    places: list[Place] = []
    with RowWriter(path) as writer:
        for history in histories:
            _check(history, places[-1].person if places else "")
            group, offset = writer.write(_rows(history))
            places.append(
                Place(
                    person=history.person,
                    split=splits.get(history.person, ""),
                    items=len(history.items),
                    queries=len(history.queries),
                    group=group,
                    offset=offset,
                )
            )
    return places


def _rows(history: History) -> Iterator[Row]:
    for kind, interactions in (("item", history.items), ("query", history.queries)):
        for interaction in interactions:
            yield Row(person=history.person, kind=kind, interaction=interaction)


def _check(history: History, last: str) -> None:
    person = history.person
    if not person:
        raise DataError("a person without a name cannot be written", hint="name everyone")
    if person == last:
        raise DataError(f"person {person!r} comes twice", hint="merge their histories")
    if person < last:
        raise UsageError(f"histories must come sorted by person: {person!r} is after {last!r}")
    _check_rows(f"person {person!r}, item", history.items)
    _check_rows(f"person {person!r}, query", history.queries)


def _check_rows(whose: str, interactions: Sequence[Interaction]) -> None:
    seen: set[str] = set()
    for i in interactions:
        if i.id in seen:
            raise DataError(f"{whose} {i.id!r}: the id comes twice", hint="number them")
        if i.time is not None and not math.isfinite(i.time):
            raise DataError(f"{whose} {i.id!r}: the time is {i.time}", hint="use Unix seconds")
        seen.add(i.id)
    for one, other in pairwise(interactions):
        if one.order >= other.order:
            raise DataError(
                f"{whose}s {one.id!r}, {other.id!r}: not in the order of (time, position)",
                hint="make histories with History.of",
            )
