"""Changes files as an attacker or a fault would: in place, with the times of before."""

from __future__ import annotations

import os
from pathlib import Path


def change_in_place(path: Path, *, at: int = -1) -> None:
    """Flip a bit of a byte; inode, size and modification time stay the same."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    # The clock of a file system advances in steps: wait for the next one.
    while True:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if path.stat().st_ctime_ns != before.st_ctime_ns:
            return
