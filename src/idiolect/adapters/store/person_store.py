"""Base class of the adapter store and the recipe store: one record and one row of data per person.

A header describes what the store is for. ``shards/`` holds the people; a later shard's entry for a
person replaces an earlier one's. This module does not depend on what a row holds.
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
    """An open store. Reading needs no lock; write only inside ``lock_for_writing``.

    ``R`` is the record of one person. ``read_shard`` reads the records of one shard from its JSON
    file.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], read_shard: Callable[[Path], Shard[R]]
    ) -> None:
        super().__init__(folder, head)
        self._header = self._pending_header = head
        """The header on disk, and the header that the next writer saves."""
        self._shards: ShardIndex[R] = ShardIndex(folder / "shards", read_shard)
        self._verified: set[tuple[int, int]] = set()
        """Tensor files whose checksum was verified, by inode and modification time. A path is no
        key, because the number of a removed last shard is used again."""

    @contextmanager
    def lock_for_writing(self, *, wait: bool | float = True) -> Generator[None]:
        """Lock the store against other writers, after reading what they have written.

        ``wait``: whether to wait for the lock, or the longest wait in seconds.
        """
        # With the lock held, all partial files are leftovers of killed writers.
        with hold_lock(self.folder, wait=wait, what=f"the {self.DISPLAY_NAME}"):
            clean_partials(self.folder)
            self._shards.recover()
            # Settings that ``create`` changed are saved just before the adapters that use them.
            if self._pending_header != self._header:
                write_json(self.folder / self.HEADER_FILE, self._pending_header)
                self._header = self._pending_header
            yield

    @property
    def people(self) -> tuple[str, ...]:
        """All people in the store, sorted."""
        return tuple(sorted(self._shards.person_locations))

    def get_record(self, person: str) -> R | None:
        """Return a person's record, None if there is none."""
        found = self._shards.person_locations.get(person)
        return found[1] if found else None

    def mentions_person(self, person: str) -> bool:
        """Whether any shard names the person, even if a later shard has replaced the entry."""
        return any(
            r.person == person for shard in self._shards.shards.values() for r in shard.records
        )

    def _locate(self, person: str) -> tuple[int, R] | None:
        """Return a person's shard number and record, None if they have no record.

        If the shard's file is missing, another process has compacted the store, so the shards are
        read again.
        """
        found = self._shards.person_locations.get(person)
        if found and not get_tensors_path(self._shards.folder, found[0]).is_file():
            self._shards.reload_shards()
            found = self._shards.person_locations.get(person)
        return found

    def _verified_file(self, number: int) -> Path:
        """Return the path of a shard's tensors; raises IntegrityError if they are missing or
        changed."""
        path = get_tensors_path(self._shards.folder, number)
        # Hashing takes time, so each version of a file is hashed once.
        now = path.stat() if path.is_file() else None
        if now is None or (now.st_ino, now.st_mtime_ns) not in self._verified:
            verify_tensors(path, self._shards.shards[number].sha256, again=self.COMMAND)
            if now is not None:
                self._verified.add((now.st_ino, now.st_mtime_ns))
        return path
