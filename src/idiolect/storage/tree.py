"""Walks through folders, and deletes files in them, with symbolic links among them.

A walk follows each link, but looks into each folder once (by device and inode), so it ends. What is
deleted in a folder is never outside of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from idiolect.errors import IntegrityError

Inode = tuple[int, int]
"""Device and number of a file or folder."""
SkipListener = Callable[[Path, str], None]
"""Receives a path that is not looked into, and why."""
_SYSTEM_FOLDERS = tuple(Path(name) for name in ("/proc", "/sys", "/dev", "/run"))
"""Folders of the operating system. A link there does not lead to stored files."""
_SPECIAL_KINDS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def ignore_skipped(path: Path, why: str) -> None:
    """Do nothing with what a walk skips."""


def walk_tree(
    roots: Sequence[Path], *, hidden: bool, skip: SkipListener = ignore_skipped
) -> Iterator[tuple[Path, Path, list[str]]]:
    """Yield each folder below the roots once, as root, folder, and the sorted names in it.

    Links to folders are followed, except to the system's folders and to folders that contain a
    root: these would take the walk to everything there is. ``skip`` receives those, and what cannot
    be read. ``hidden``: whether folders are looked into whose name begins with a dot.
    """
    seen: set[Inode] = set()
    tops = [root.resolve() for root in roots]
    for root in roots:
        # A stack instead of recursion: folders can be nested deeper than Python's stack.
        pending = [root]
        while pending:
            folder = pending.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                skip(folder, error.strerror or str(error))
                continue
            yield root, folder, [entry.name for entry in entries]
            below = [
                Path(entry.path)
                for entry in entries
                if (hidden or not entry.name.startswith(".")) and _is_folder(entry)
            ]
            pending += [path for path in reversed(below) if _is_followed(path, tops, seen, skip)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # e.g. a link that leads to itself
        return False


def _is_followed(path: Path, tops: Sequence[Path], seen: set[Inode], skip: SkipListener) -> bool:
    """Return whether a walk goes on into a folder or linked folder."""
    if not path.is_symlink():
        return True
    target = Path(os.path.realpath(path))
    try:
        status = target.stat()
    except OSError as error:
        skip(path, error.strerror or str(error))
        return False
    if (status.st_dev, status.st_ino) in seen or target in tops:
        return False
    if not is_walked(target, tops):
        skip(path, f"a link to {target}, which is not followed; name that folder to search it")
        return False
    return True


def is_walked(target: Path, roots: Sequence[Path]) -> bool:
    """Return whether a walk follows a link to this resolved path.

    Folders that a root is in, and those of the system, were not asked for.
    """
    is_above = any(root.resolve().is_relative_to(target) for root in roots)
    return not is_above and not any(target.is_relative_to(system) for system in _SYSTEM_FOLDERS)


def find_outside_targets(roots: Sequence[Path]) -> tuple[Path, ...]:
    """Return the resolved paths that links below the roots lead to outside of them. They need not
    exist."""
    tops = [root.resolve() for root in roots]
    out: set[Path] = set()
    for root in roots:
        # Only the folders themselves: what a link leads to has its own links.
        for folder, subfolders, names in os.walk(root):
            paths = [Path(folder, name) for name in (*subfolders, *names)]
            # Unlike Path.resolve, realpath accepts links that lead to themselves.
            out |= {Path(os.path.realpath(path)) for path in paths if path.is_symlink()}
    return tuple(sorted(path for path in out if not any(path.is_relative_to(top) for top in tops)))


def describe_special(path: Path) -> str:
    """Return what a path is if opening it could hang or is impossible; empty for a regular file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "a link to nothing" if path.is_symlink() else error.strerror or str(error)
    return "" if stat.S_ISREG(mode) else _SPECIAL_KINDS.get(stat.S_IFMT(mode), "not a file")


def unlink_inside(folder: Path, name: str) -> None:
    """Delete a file of a folder if it exists; never one outside of the folder.

    If a link is on the way to the file, the link is deleted instead of the file behind it.
    """
    path = folder
    for part in Path(name).parts:
        if part == ".." or Path(part).is_absolute():
            raise IntegrityError(f"{folder}: {name!r} is outside of this folder; not deleted")
        path = path / part
        if path.is_symlink():
            break
    path.unlink(missing_ok=True)


def require_no_outside_links(folder: Path) -> None:
    """Raise IntegrityError if a link below the folder leads out of it."""
    if outside := find_outside_targets([folder]):
        raise IntegrityError(
            f"{folder}: a link in this folder leads to {outside[0]}, which would be changed with "
            "it; replace the link by what it leads to, or remove it"
        )
