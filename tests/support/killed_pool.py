"""A process that writes to a pool and is killed midway."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.pool.pool import Pool
from support.sharers import make_contribution, make_sharer_id


def write_pool_and_die(folder: str, doing: str, after: int) -> None:
    """Adds sharer 9 or removes sharer 1; kills this process at the ``after``-th ``os.fsync``."""
    base = make_tiny_base()
    pool = Pool.open(Path(folder))
    entry = make_contribution(pool, base, 9)
    fsync, calls = os.fsync, [0]

    def kill_at_fsync(handle: int) -> None:
        if calls[0] == after:
            os.kill(os.getpid(), signal.SIGKILL)
        calls[0] += 1
        fsync(handle)

    with pool.lock_for_writing(), mock.patch("os.fsync", kill_at_fsync):
        if doing == "add":
            pool.add_sharers([entry])
        else:
            pool.remove_sharers([make_sharer_id(1)])
