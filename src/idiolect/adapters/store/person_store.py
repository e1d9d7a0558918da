"""What both stores share: one record and one row of numbers for each person, in shards.

A head says what the store is for; people are in ``shards/``, and what a later shard says about a
person replaces what an earlier one says. Knows nothing of what a row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from idiolect.adapters.store.artifact import BoundFolder
from idiolect.adapters.store.shard import check_tensors
from idiolect.adapters.store.shard_index import OfPerson, Shard, ShardList, tensors_file
from idiolect.storage.files import clean_partials, lock, write_json

R = TypeVar("R", bound=OfPerson)


class PersonStore(BoundFolder, Generic[R]):
    """An open store; reading needs no lock, writing happens inside ``writing``.

    ``R`` is the record of one person. ``read_shard`` reads the records of one shard.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], read_shard: Callable[[Path], Shard[R]]
    ) -> None:
        super().__init__(folder, head)
        self._head = self._wanted = head
        """What is on disk, and what the next writer puts there."""
        self._shards: ShardList[R] = ShardList(folder / "shards", read_shard)
        self._verified: set[tuple[int, int]] = set()
        """Tensor files whose checksum was compared, by inode and time of change: a shard's number
        is used again after the last shard was dropped."""

    @contextmanager
    def writing(self, *, wait: bool | float = True) -> Generator[None]:
        """Hold the store against other writers; what they wrote meanwhile is read first."""
        with lock(self.folder, wait=wait, what=f"the {self.WHAT}"):
            clean_partials(self.folder)
            self._shards.clean()
            if self._wanted != self._head:
                write_json(self.folder / self.HEAD, self._wanted)
                self._head = self._wanted
            yield

    @property
    def people(self) -> tuple[str, ...]:
        """Everyone the store knows of, sorted."""
        return tuple(sorted(self._shards.where))

    def record(self, person: str) -> R | None:
        """What is known of a person, ``None`` for a stranger."""
        found = self._shards.where.get(person)
        return found[1] if found else None

    def mentions(self, person: str) -> bool:
        """Whether any shard names a person, though a later shard may have replaced that."""
        return any(r.person == person for shard in self._shards.all.values() for r in shard.records)

    def _locate(self, person: str) -> tuple[int, R] | None:
        """A person's shard number and record, ``None`` for a stranger.

        If the shard's file is gone, another process has compacted the store: it is read again.
        """
        found = self._shards.where.get(person)
        if found and not tensors_file(self._shards.folder, found[0]).is_file():
            self._shards.read()
            found = self._shards.where.get(person)
        return found

    def _verified_file(self, number: int) -> Path:
        """A shard's tensor file; raises IntegrityError if it is missing or was changed."""
        path = tensors_file(self._shards.folder, number)
        now = path.stat() if path.is_file() else None
        if now is None or (now.st_ino, now.st_mtime_ns) not in self._verified:
            check_tensors(path, self._shards.all[number].sha256, again=self.MAKE)
            if now is not None:
                self._verified.add((now.st_ino, now.st_mtime_ns))
        return path
