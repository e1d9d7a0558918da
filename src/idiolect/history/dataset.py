"""A dataset on disk: a folder of histories, read lazily. A task is only a name here.

The folder contains ``interactions.parquet`` (one row per item or query, a person's rows together),
``people.parquet`` (one row per person: split, counts, location of the rows) and ``manifest.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from idiolect.errors import IntegrityError, MissingError
from idiolect.history.history import History
from idiolect.history.parquet import RowLocation, RowReader, count_rows, read_locations
from idiolect.storage.files import is_working_file, read_json, sha256_file

FORMAT = "idiolect-dataset"
VERSION = 1
ROWS_FILE, PEOPLE_FILE, MANIFEST_FILE = "interactions.parquet", "people.parquet", "manifest.json"


class Dataset:
    """Histories on disk. Only the index of people and one row group are in memory.

    Iterating yields one ``History`` at a time, in the order of ``people``.
    """

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], locations: Iterable[RowLocation]
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        """Where the dataset came from: source, settings, counts, checksums."""
        self.name = str(manifest["name"])
        self.task = str(manifest["task"])
        self._locations = {location.person: location for location in locations}
        self._row_reader = RowReader(folder / ROWS_FILE)

    @property
    def people(self) -> tuple[str, ...]:
        """All people, sorted."""
        return tuple(self._locations)

    def list_split_people(self, split: str) -> tuple[str, ...]:
        """Return the people of one split (``test``, ``other`` or empty), sorted."""
        return tuple(p.person for p in self._locations.values() if p.split == split)

    def get_split(self, person: str) -> str:
        """Return the split that the person belongs to: ``test``, ``other``, or empty."""
        return self._locate_person(person).split

    def get_counts(self, person: str) -> tuple[int, int]:
        """Return the number of items and of queries of a person, without reading them."""
        location = self._locate_person(person)
        return location.items, location.queries

    def read_history(self, person: str) -> History:
        """Read one person's history; raises MissingError if the dataset does not contain the
        person."""
        rows = self._row_reader.read_person(self._locate_person(person))
        return History(
            person,
            tuple(row.interaction for row in rows if row.kind == "item"),
            tuple(row.interaction for row in rows if row.kind == "query"),
        )

    def iter_histories(self, people: Iterable[str] | None = None) -> Iterator[History]:
        """Yield the histories of the given people in the given order, or of all people, one at a
        time."""
        for person in self.people if people is None else people:
            yield self.read_history(person)

    def __len__(self) -> int:
        return len(self._locations)

    def __iter__(self) -> Iterator[History]:
        return self.iter_histories()

    def __contains__(self, person: object) -> bool:
        return person in self._locations

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, task={self.task!r}, people={len(self)})"

    def _locate_person(self, person: str) -> RowLocation:
        if person not in self._locations:
            # Show one existing id, since ids may differ only in a prefix.
            example = f", e.g. {next(iter(self._locations))!r}" if self._locations else ""
            raise MissingError(
                f"{self.folder}: no person named {person!r} among its {len(self)} people{example}"
            )
        return self._locations[person]


def read_dataset(folder: Path) -> Dataset:
    """Open a dataset folder after verifying the checksums of its files.

    Raises MissingError if there is no such dataset; IntegrityError if a file was changed, truncated
    or does not belong there, or if the version is not supported.
    """
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such dataset folder; create one with `idiolect import`")
    if not (folder / MANIFEST_FILE).is_file():
        raise MissingError(f"{folder}: not a dataset (it has no {MANIFEST_FILE})")
    manifest = _read_manifest(folder / MANIFEST_FILE)
    _check_files(folder, cast("dict[str, str]", manifest["files"]))
    locations = read_locations(folder / PEOPLE_FILE)
    # The checksums cover the files; this also detects a manifest of another dataset.
    rows = count_rows(folder / ROWS_FILE)
    if rows != manifest["items"] + manifest["queries"] or len(locations) != manifest["people"]:
        raise IntegrityError(f"{folder}: the number of rows or people differs from the manifest")
    return Dataset(folder, manifest, locations)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path)
    found = cast("dict[str, Any]", manifest) if isinstance(manifest, dict) else {}
    if found.get("format") != FORMAT:
        raise IntegrityError(f"{path}: not the manifest of a dataset")
    if found.get("version") != VERSION:
        raise IntegrityError(
            f"{path}: dataset version {found.get('version')!r}, but this Idiolect reads version "
            f"{VERSION}; use the Idiolect that wrote it, or import the data again"
        )
    return found


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Raise IntegrityError if a file is foreign, missing, or differs from its checksum."""
    for path in sorted(folder.iterdir()):
        if path.name not in (ROWS_FILE, PEOPLE_FILE, MANIFEST_FILE) and not is_working_file(
            path.name
        ):
            raise IntegrityError(f"{path}: a foreign file in a dataset; move it out of the folder")
    for name in (ROWS_FILE, PEOPLE_FILE):
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; import the data again")
        if sha256_file(path) != checksums.get(name):
            raise IntegrityError(f"{path} was changed or truncated; import the data again")
