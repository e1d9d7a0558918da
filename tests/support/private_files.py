"""Checks that only their owner can read files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def use_umask(mask: int) -> Iterator[None]:
    """Inside the context, new files have the modes that this umask leaves."""
    earlier = os.umask(mask)
    try:
        yield
    finally:
        os.umask(earlier)


def list_modes(folder: Path) -> dict[str, str]:
    """Return the permission bits, in octal, of a folder (".") and of all below it."""
    paths = [folder, *folder.rglob("*")]
    return {
        path.relative_to(folder).as_posix(): f"{stat.S_IMODE(path.stat().st_mode):o}"
        for path in sorted(paths)
    }


def list_open_paths(folder: Path) -> list[str]:
    """Return the names of all below a folder that others than the owner can read or change."""
    return [name for name, mode in list_modes(folder).items() if name != "." and mode[-2:] != "00"]
