"""Numbered pairs of files in a folder, of which later ones replace what earlier ones say.

``NNNNNN.safetensors`` holds numbers, ``NNNNNN.json`` who they are of; the JSON is written last and
makes the pair exist. Knows nothing of what the numbers are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from idiolect.errors import IntegrityError, MissingError
from idiolect.storage.files import clean_partials, is_working_file

_NUMBER = re.compile(r"\d{6,}", re.ASCII)


class PersonRecord(Protocol):
    """A record of one person."""

    @property
    def person(self) -> str:
        """Whose it is."""
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
    """The shards of a folder; a later one's word on a person counts."""

    def __init__(self, folder: Path, read: Callable[[Path], Shard[R]]) -> None:
        self.folder = folder
        self._read_shard = read
        self.shards: dict[int, Shard[R]] = {}
        self.person_locations: dict[str, tuple[int, R]] = {}
        """Everyone's shard and record."""
        self.reload_shards()

    def reload_shards(self) -> None:
        """Read every shard's records, as ``read_numbered``."""
        found = read_numbered(self.folder, self._read_shard)
        self.shards, self.person_locations = {}, {}
        for shard in found:
            self.register(shard)

    def register(self, shard: Shard[R]) -> None:
        """Take in a shard that was written."""
        self.shards[shard.number] = shard
        self.person_locations |= {record.person: (shard.number, record) for record in shard.records}

    @property
    def next_number(self) -> int:
        """The number of the shard to come."""
        return max(self.shards, default=0) + 1

    def recover(self) -> None:
        """Read anew, and remove what killed writers left; for who holds the folder."""
        clean_partials(self.folder)
        self.reload_shards()
        for path in self.folder.glob("*.safetensors"):
            if int(path.stem) not in self.shards:  # of a killed writer, and somebody's data
                path.unlink()

    def stale_shards(self, without: Collection[str] = ()) -> Iterator[tuple[int, list[R]]]:
        """Shards that say something outdated, or anything of ``without``, with the records that
        hold."""
        for number in sorted(self.shards):
            records = self.shards[number].records
            live = [r for r in records if self.person_locations[r.person][0] == number]
            live = [r for r in live if r.person not in without]
            if len(live) < len(records):
                yield number, live

    def remove_shard(self, number: int) -> None:
        """Remove a shard, and whom it had the last word on."""
        get_records_path(self.folder, number).unlink()
        get_tensors_path(self.folder, number).unlink()
        del self.shards[number]
        self.person_locations = {
            person: at for person, at in self.person_locations.items() if at[0] != number
        }


def get_tensors_path(folder: Path, number: int) -> Path:
    """Where the numbers of a pair stand."""
    return folder / f"{number:06d}.safetensors"


def get_records_path(folder: Path, number: int) -> Path:
    """Where the records of a pair stand; with this file it exists."""
    return folder / f"{number:06d}.json"


def read_numbered(folder: Path, read: Callable[[Path], T]) -> list[T]:
    """What ``read`` says of each pair, in order; tensors without records are a killed writer's.

    Raises IntegrityError for files that do not belong there.
    """
    while True:
        try:
            return [read(path) for path in _list_record_files(folder)]
        except MissingError:  # put in order by another process while it was read: look again
            continue


def _list_record_files(folder: Path) -> list[Path]:
    out: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_working_file(path.name):
            continue
        if path.suffix not in (".json", ".safetensors") or not _NUMBER.fullmatch(path.stem):
            raise IntegrityError(f"{path}: a foreign file among our own; take it out")
        if path.suffix == ".json":
            out.append(path)
    return out
