"""What both stores share: one record and one row of numbers for each person, in shards.

A head says what the store is for; people are in ``shards/``, and what a later shard says about a
person replaces what an earlier one says. Knows nothing of what a row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from idiolect.adapters.store.artifact import BaseBoundArtifact
from idiolect.adapters.store.shard import verify_tensors
from idiolect.adapters.store.shard_index import PersonRecord, Shard, ShardIndex, get_tensors_path
from idiolect.storage.files import clean_partials, hold_lock, write_json

R = TypeVar("R", bound=PersonRecord)


class PersonStore(BaseBoundArtifact, Generic[R]):
    """An open store; reading needs no lock, writing happens inside ``writing``.

    ``R`` is the record of one person. ``read_shard`` reads the records of one shard.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], read_shard: Callable[[Path], Shard[R]]
    ) -> None:
        super().__init__(folder, head)
        self._header = self._pending_header = head
        """What is on disk, and what the next writer puts there."""
        self._shards: ShardIndex[R] = ShardIndex(folder / "shards", read_shard)
        self._verified: set[tuple[int, int]] = set()
        """Tensor files whose checksum was compared, by inode and time of change: a shard's number
        is used again after the last shard was dropped."""

    @contextmanager
    def lock_for_writing(self, *, wait: bool | float = True) -> Generator[None]:
        """Hold the store against other writers; what they wrote meanwhile is read first."""
        with hold_lock(self.folder, wait=wait, what=f"the {self.DISPLAY_NAME}"):
            clean_partials(self.folder)
            self._shards.recover()
            if self._pending_header != self._header:
                write_json(self.folder / self.HEADER_FILE, self._pending_header)
                self._header = self._pending_header
            yield

    @property
    def people(self) -> tuple[str, ...]:
        """Everyone the store knows of, sorted."""
        return tuple(sorted(self._shards.person_locations))

    def get_record(self, person: str) -> R | None:
        """What is known of a person, ``None`` for a stranger."""
        found = self._shards.person_locations.get(person)
        return found[1] if found else None

    def mentions_person(self, person: str) -> bool:
        """Whether any shard names a person, though a later shard may have replaced that."""
        return any(
            r.person == person for shard in self._shards.shards.values() for r in shard.records
        )

    def _locate(self, person: str) -> tuple[int, R] | None:
        """A person's shard number and record, ``None`` for a stranger.

        If the shard's file is gone, another process has compacted the store: it is read again.
        """
        found = self._shards.person_locations.get(person)
        if found and not get_tensors_path(self._shards.folder, found[0]).is_file():
            self._shards.reload_shards()
            found = self._shards.person_locations.get(person)
        return found

    def _verified_file(self, number: int) -> Path:
        """A shard's tensor file; raises IntegrityError if it is missing or was changed."""
        path = get_tensors_path(self._shards.folder, number)
        now = path.stat() if path.is_file() else None
        if now is None or (now.st_ino, now.st_mtime_ns) not in self._verified:
            verify_tensors(path, self._shards.shards[number].sha256, again=self.COMMAND)
            if now is not None:
                self._verified.add((now.st_ino, now.st_mtime_ns))
        return path
