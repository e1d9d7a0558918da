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
from idiolect.errors import IntegrityError
from idiolect.storage.files import clean_partials, hold_lock, write_json
from idiolect.storage.verified import VerifiedFiles

R = TypeVar("R", bound=PersonRecord)
T = TypeVar("T")


class PersonStore(BaseBoundArtifact, Generic[R]):
    """An open store. Reading needs no lock; write only inside ``lock_for_writing``.

    Reading sees what other processes have written: people that they have forgotten are unknown.

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
        self._verified_files = VerifiedFiles()
        self._is_writing = False
        """Whether this object holds the lock, so that no other process changes the shards."""

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
            self._is_writing = True
            try:
                yield
            finally:
                self._is_writing = False

    @property
    def people(self) -> tuple[str, ...]:
        """All people in the store, sorted."""
        self._refresh_shards()
        return tuple(sorted(self._shards.person_locations))

    def get_record(self, person: str) -> R | None:
        """Return a person's record, None if there is none."""
        found = self._locate(person)
        return found[1] if found else None

    def mentions_person(self, person: str) -> bool:
        """Whether any shard names the person, even if a later shard has replaced the entry."""
        self._refresh_shards()
        return any(
            r.person == person for shard in self._shards.shards.values() for r in shard.records
        )

    def _refresh_shards(self) -> None:
        """Read the records again if another process has changed them."""
        if not self._is_writing:
            self._shards.refresh_shards()

    def _locate(self, person: str) -> tuple[int, R] | None:
        """Return a person's current shard number and record, None if they have no record."""
        self._refresh_shards()
        return self._shards.person_locations.get(person)

    def _read_person(self, person: str, read: Callable[[int, R], T]) -> T | None:
        """Return ``read(shard number, record)`` of a person's record, None if they have none.

        If another process has removed or replaced the shard meanwhile, it reads the new one.
        """
        found = self._locate(person)
        while found is not None:
            try:
                return read(*found)
            except IntegrityError:
                # Damage, or a shard that was replaced: then the person's record is another one.
                self._shards.reload_shards()
                if self._shards.person_locations.get(person) == found:
                    raise
                found = self._shards.person_locations.get(person)
        return None

    def _read_verified(self, number: int, read: Callable[[Path], T]) -> T:
        """Return ``read(path)`` of a shard's tensors; raises IntegrityError if they are missing or
        changed, also since an earlier read."""
        path = get_tensors_path(self._shards.folder, number)
        sha256 = self._shards.shards[number].sha256
        return self._verified_files.read(
            path,
            sha256,
            lambda: verify_tensors(path, sha256, again=self.COMMAND),
            lambda: read(path),
        )
