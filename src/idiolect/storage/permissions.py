"""Who may read what Idiolect writes: its owner only, whatever the umask.

Two things widen that, both the user's decision. A file or folder that is replaced keeps its mode.
In a folder with the setgid bit (``chmod g+s``), the sign of a folder that a group shares, new files
and folders get the folder's permissions of the group.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_GROUP_BITS = 0o070


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents; an existing folder keeps its mode."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER)
    except FileExistsError:
        if not folder.is_dir():  # else another process was faster
            raise
    else:
        set_mode(folder, pick_folder_mode(folder))


def create_empty_file(path: Path) -> None:
    """Create an empty file to append to, unless it exists."""
    with contextlib.suppress(FileExistsError):
        os.close(open_new_file(path))
        set_mode(path, pick_file_mode(path))


def open_new_file(path: Path) -> int:
    """Create a file that only its owner can read, and return its descriptor. Raises
    FileExistsError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, _PRIVATE_FILE)


def pick_file_mode(path: Path, *, replaced: Path | None = None) -> int:
    """Return the mode of a file at ``path``: that of the file that it replaces, if there is
    one."""
    if replaced is not None and replaced.is_file():
        return stat.S_IMODE(replaced.stat().st_mode)
    return _PRIVATE_FILE | _find_group_bits(path.parent) & 0o060


def pick_folder_mode(path: Path, *, replaced: Path | None = None) -> int:
    """Return the mode of an existing folder: that of the folder that it replaces, if there is
    one."""
    if replaced is not None and replaced.is_dir():
        return stat.S_IMODE(replaced.stat().st_mode)
    inherited = path.stat().st_mode & stat.S_ISGID
    return _PRIVATE_FOLDER | _find_group_bits(path.parent) | inherited


def restrict_tree(folder: Path, *, replaced: Path) -> None:
    """Set the modes of a folder and of all below it, which libraries wrote with modes of their own.

    ``replaced``: the folder whose place it takes, if that exists; what is there keeps its mode.
    """
    # From the top down, because what is below takes the group's permissions from its folder.
    for place, _, names in os.walk(folder):
        here = Path(place)
        earlier = replaced / here.relative_to(folder)
        set_mode(here, pick_folder_mode(here, replaced=earlier))
        for name in names:
            # A mode set on a link would change the file that it points to.
            if not (here / name).is_symlink():
                set_mode(here / name, pick_file_mode(here / name, replaced=earlier / name))


def set_mode(path: Path, mode: int) -> None:
    """Set the permission bits, unless the file system has none (FAT, some network drives)."""
    with contextlib.suppress(PermissionError):
        path.chmod(mode)


def _find_group_bits(folder: Path) -> int:
    """Return what the group may do in a folder that it shares; 0 if the folder is not shared."""
    mode = folder.stat().st_mode
    return mode & _GROUP_BITS if mode & stat.S_ISGID else 0
