"""Reads files whose checksums were verified, without hashing a file for each read.

Hashing takes time, so each version of a file is hashed once. A version is inode, size and the times
of the last change of content and of the inode; the latter cannot be set by programs. The state is
compared again after reading, because a file may change in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from idiolect.errors import IntegrityError

T = TypeVar("T")
FileState = tuple[int, int, int, int]
"""Inode, size, time of the last change of the content, and of the inode (nanoseconds)."""

_SETTLED_NANOSECONDS = 100_000_000
"""Clocks of file systems advance in steps of some milliseconds. Two changes within one step have
the same time, so only states that are older than this are kept."""


def read_state(path: Path) -> FileState | None:
    """Return the state of a file or folder; None if it is missing."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_settled(state: FileState | None) -> bool:
    """Whether a later change would give another state."""
    return state is not None and abs(time.time_ns() - state[3]) > _SETTLED_NANOSECONDS


class VerifiedFiles:
    """The versions of files that were verified."""

    def __init__(self) -> None:
        self._verified: dict[Path, tuple[FileState, str]] = {}

    def read(self, path: Path, sha256: str, verify: Callable[[], None], read: Callable[[], T]) -> T:
        """Return ``read()`` of a file after ``verify()``, which is skipped if this version passed
        before for the same ``sha256``.

        Both get no arguments. Raises what they raise, and IntegrityError if the file changes
        meanwhile.
        """
        before = read_state(path)
        if before is None or self._verified.get(path) != (before, sha256):
            verify()
            if before is not None and is_settled(before):
                self._verified[path] = (before, sha256)
        found = read()
        if read_state(path) != before:
            self._verified.pop(path, None)
            raise IntegrityError(f"{path}: changed while it was read; run again")
        return found

    def clear(self) -> None:
        """Verify all files again on their next use."""
        self._verified.clear()
