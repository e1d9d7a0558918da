"""A writer of a pool in a process of its own, that is killed in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

from idiolect.models.tiny import tiny_base
from idiolect.pieces.pool.pool import Pool
from support.sharers import name, sharer


def die(folder: str, doing: str, after: int) -> None:
    """Add sharer 9, or withdraw sharer 1; the system kills this process at some ``os.fsync``."""
    base = tiny_base()
    pool = Pool.open(Path(folder))
    entry = sharer(pool, base, 9)
    fsync, calls = os.fsync, [0]

    def deadly(handle: int) -> None:
        if calls[0] == after:
            os.kill(os.getpid(), signal.SIGKILL)
        calls[0] += 1
        fsync(handle)

    with pool.writing(), mock.patch("os.fsync", deadly):
        if doing == "add":
            pool.add([entry])
        else:
            pool.withdraw([name(1)])
