"""Index of a folder's shards: numbered pairs of files, of which later ones replace earlier ones.

``NNNNNN.safetensors`` holds data, ``NNNNNN.json`` the records of the people it belongs to. The JSON
file is written last: a shard without it does not exist. This module does not read the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from idiolect.errors import IntegrityError, MissingError
from idiolect.storage.files import clean_partials, is_working_file
from idiolect.storage.verified import FileState, is_settled, read_state

_NUMBER = re.compile(r"\d{6,}", re.ASCII)


class PersonRecord(Protocol):
    """A record of one person."""

    @property
    def person(self) -> str:
        """The person it belongs to."""
        ...


T = TypeVar("T")
R = TypeVar("R", bound=PersonRecord)


@dataclass(frozen=True, slots=True)
class Shard(Generic[R]):
    """A shard's number, the SHA-256 of its tensors, and its records."""

    number: int
    sha256: str
    records: tuple[R, ...]


class ShardIndex(Generic[R]):
    """All shards of a folder, and the latest record of each person."""

    def __init__(self, folder: Path, read: Callable[[Path], Shard[R]]) -> None:
        self.folder = folder
        self._read_shard = read
        self.shards: dict[int, Shard[R]] = {}
        self.person_locations: dict[str, tuple[int, R]] = {}
        """Each person's shard number and latest record."""
        self._state: FileState | None = None
        """The state of the folder when it was read; each shard that comes or goes changes it."""
        self.reload_shards()

    def reload_shards(self) -> None:
        """Read the records of all shards; raises the same errors as ``read_numbered``."""
        state = read_state(self.folder)
        found = read_numbered(self.folder, self._read_shard)
        shards = {shard.number: shard for shard in found}
        # In order of numbers, so that later records win.
        locations = {r.person: (shard.number, r) for shard in found for r in shard.records}
        self.shards, self.person_locations = shards, locations
        self._state = state if is_settled(state) else None

    def refresh_shards(self) -> None:
        """Read the records again if another process may have changed them."""
        if self._state is None or read_state(self.folder) != self._state:
            self.reload_shards()

    def register(self, shard: Shard[R]) -> None:
        """Add a shard that was just written; its records replace earlier ones."""
        self.shards[shard.number] = shard
        self.person_locations |= {record.person: (shard.number, record) for record in shard.records}

    @property
    def next_number(self) -> int:
        """The number of the next shard."""
        return max(self.shards, default=0) + 1

    def recover(self) -> None:
        """Reload all shards and delete leftovers of killed writers. Call it with the folder's
        lock held."""
        clean_partials(self.folder)
        self.reload_shards()
        for path in self.folder.glob("*.safetensors"):
            # Tensors without records are of a killed writer, and they are personal data.
            if int(path.stem) not in self.shards:
                path.unlink()

    def stale_shards(self, without: Collection[str] = ()) -> Iterator[tuple[int, list[R]]]:
        """Yield each shard that has replaced records, or records of people in ``without``, with
        the records to keep."""
        for number in sorted(self.shards):
            records = self.shards[number].records
            # A record is live if it is the latest one of its person.
            live = [r for r in records if self.person_locations[r.person][0] == number]
            live = [r for r in live if r.person not in without]
            if len(live) < len(records):
                yield number, live

    def remove_shard(self, number: int) -> None:
        """Delete a shard and forget the people whose latest record is in it."""
        # The records go first: a kill after this leaves an orphan, which ``recover`` deletes.
        get_records_path(self.folder, number).unlink()
        get_tensors_path(self.folder, number).unlink()
        del self.shards[number]
        self.person_locations = {
            person: at for person, at in self.person_locations.items() if at[0] != number
        }


def get_tensors_path(folder: Path, number: int) -> Path:
    """The path of a shard's tensors."""
    return folder / f"{number:06d}.safetensors"


def get_records_path(folder: Path, number: int) -> Path:
    """The path of a shard's records, which make the shard exist."""
    return folder / f"{number:06d}.json"


def read_numbered(folder: Path, read: Callable[[Path], T]) -> list[T]:
    """Return ``read(path)`` for each shard's JSON file, in order; ignores tensors without records.

    Raises IntegrityError if the folder holds other files.
    """
    # Another process may remove shards between listing and reading.
    while True:
        try:
            return [read(path) for path in _list_record_files(folder)]
        except MissingError:  # another process compacted the folder meanwhile: list it again
            continue


def _list_record_files(folder: Path) -> list[Path]:
    out: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_working_file(path.name):
            continue
        # Fail on anything unexpected, since compaction deletes files in this folder.
        if path.suffix not in (".json", ".safetensors") or not _NUMBER.fullmatch(path.stem):
            raise IntegrityError(f"{path}: a foreign file among the shards; remove it")
        if path.suffix == ".json":
            out.append(path)
    return out
