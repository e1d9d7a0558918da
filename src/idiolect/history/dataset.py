"""A dataset on disk: a folder of histories, read lazily; knows no task beyond its name.

The folder holds ``interactions.parquet`` (one row per item or query, a person's rows together),
``people.parquet`` (one row per person: split, counts, where their rows are) and ``manifest.json``.
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
    """Histories on disk; in memory are only the index of people and one row group.

    Iterating gives one ``History`` at a time, in the order of ``people``.
    """

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], places: Iterable[RowLocation]
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        """What the dataset was made of: source, settings, counts, checksums."""
        self.name = str(manifest["name"])
        self.task = str(manifest["task"])
        self._locations = {place.person: place for place in places}
        self._row_reader = RowReader(folder / ROWS_FILE)

    @property
    def people(self) -> tuple[str, ...]:
        """Every person, sorted."""
        return tuple(self._locations)

    def list_split_people(self, split: str) -> tuple[str, ...]:
        """The people of one split (``test``, ``other`` or empty), sorted."""
        return tuple(p.person for p in self._locations.values() if p.split == split)

    def get_split(self, person: str) -> str:
        """Which part of the source the person came from: ``test``, ``other``, or empty."""
        return self._locate_person(person).split

    def get_counts(self, person: str) -> tuple[int, int]:
        """How many items and queries a person has, without reading them."""
        place = self._locate_person(person)
        return place.items, place.queries

    def read_history(self, person: str) -> History:
        """One person's history; raises MissingError for someone who is not in the dataset."""
        rows = self._row_reader.read_person(self._locate_person(person))
        return History(
            person,
            tuple(row.interaction for row in rows if row.kind == "item"),
            tuple(row.interaction for row in rows if row.kind == "query"),
        )

    def iter_histories(self, people: Iterable[str] | None = None) -> Iterator[History]:
        """The histories of some people in the order given, or of all, one at a time."""
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
            example = f", e.g. {next(iter(self._locations))!r}" if self._locations else ""
            raise MissingError(
                f"{self.folder}: no person named {person!r} among its {len(self)} people{example}"
            )
        return self._locations[person]


def read_dataset(folder: Path) -> Dataset:
    """Open a dataset folder after checking every byte of it.

    Raises MissingError where there is no such dataset; IntegrityError for a changed or truncated
    file, a file that does not belong there, or a version this Idiolect does not know.
    """
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such dataset folder; make one with `idiolect import`")
    if not (folder / MANIFEST_FILE).is_file():
        raise MissingError(f"{folder}: not a dataset, it has no {MANIFEST_FILE}")
    manifest = _read_manifest(folder / MANIFEST_FILE)
    _check_files(folder, cast("dict[str, str]", manifest["files"]))
    places = read_locations(folder / PEOPLE_FILE)
    rows = count_rows(folder / ROWS_FILE)
    if rows != manifest["items"] + manifest["queries"] or len(places) != manifest["people"]:
        raise IntegrityError(f"{folder}: its rows are not as many as its manifest says")
    return Dataset(folder, manifest, places)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path)
    found = cast("dict[str, Any]", manifest) if isinstance(manifest, dict) else {}
    if found.get("format") != FORMAT:
        raise IntegrityError(f"{path}: the manifest of something else than a dataset")
    if found.get("version") != VERSION:
        raise IntegrityError(
            f"{path}: dataset version {found.get('version')!r}, but this Idiolect reads version "
            f"{VERSION}; use the Idiolect that wrote it, or import the data again"
        )
    return found


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in (ROWS_FILE, PEOPLE_FILE, MANIFEST_FILE) and not is_working_file(
            path.name
        ):
            raise IntegrityError(f"{path}: a foreign file in a dataset; take it out of the folder")
    for name in (ROWS_FILE, PEOPLE_FILE):
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; import the data again")
        if sha256_file(path) != checksums.get(name):
            raise IntegrityError(f"{path} was changed or cut since it was written; import it again")
