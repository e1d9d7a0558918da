"""Searches every file below some folders for a person's id, texts and adapter weights.

What cannot be searched is listed with the reason. The search itself never fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from idiolect.privacy.search.file_search import (
    FileSearch,
    ScanHit,
    TextReader,
    UnsearchedFile,
    explain_error,
)
from idiolect.privacy.search.patterns import SearchPatterns
from idiolect.privacy.search.person_id import PersonId
from idiolect.storage.tree import Inode, describe_special, walk_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What a search found."""

    hits: tuple[ScanHit, ...] = ()
    unsearched: tuple[UnsearchedFile, ...] = ()
    files: int = 0
    """The number of files that were searched."""


def scan_tree(
    roots: Sequence[Path],
    person: str,
    patterns: SearchPatterns,
    *,
    readers: Sequence[TextReader] = (),
    foreign_folders: Collection[Path] = (),
    excluded: Collection[Path] = (),
) -> ScanResult:
    """Find everything below the folders that still contains the person's id, texts or weights.

    If ``person`` is empty, no id is searched for. ``readers`` decode additional formats. In
    ``foreign_folders``, the (numeric) id belongs to another person and is not searched for. Files
    in ``excluded`` are skipped. A root may be a file.
    """
    ids, no_ids = PersonId(person), PersonId("")
    # Compare resolved paths, since roots may be relative or contain links.
    foreign = [folder.resolve() for folder in foreign_folders]
    skipped = {path.resolve() for path in excluded}
    hits: list[ScanHit] = []
    unsearched: list[UnsearchedFile] = []
    done: dict[Inode, FileSearch] = {}

    def note_skipped(path: Path, why: str) -> None:
        unsearched.append(UnsearchedFile(where=path, why=why))

    def search_entry(path: Path) -> None:
        place = Path(os.path.realpath(path))
        if place in skipped:
            return
        is_foreign = any(place.is_relative_to(folder) for folder in foreign)
        search = FileSearch(ids=no_ids if is_foreign else ids, patterns=patterns, readers=readers)
        search.search_name(f"{path.name} {path.readlink()}" if path.is_symlink() else path.name)
        hits.extend(search.list_hits(path))
        # Of folders, and of links to nothing, only the name is searched here.
        if path.is_dir() or not path.exists():
            return
        if special := describe_special(path):
            note_skipped(path, f"{special}, which is not opened")
            return
        # A file with several names is searched once, and reported under each name.
        status = path.stat()
        inode = (status.st_dev, status.st_ino)
        if inode not in done:
            done[inode] = search = replace(search, found=set(), unsearched=[])
            search.search_path(path)
        hits.extend(done[inode].list_hits(path))
        unsearched.extend(done[inode].list_unsearched(path))

    for path in _iter_paths(roots, note_skipped):
        try:
            search_entry(path)
        except OSError as error:
            note_skipped(path, explain_error(error))
    return ScanResult(hits=tuple(hits), unsearched=tuple(unsearched), files=len(done))


def scan_file(path: Path, person: str, patterns: SearchPatterns) -> list[str]:
    """Return what one file contains of a person, in the words of ``ScanHit.what``."""
    search = FileSearch(ids=PersonId(person), patterns=patterns, readers=())
    search.search_path(path)
    return [hit.what for hit in search.list_hits(path)]


def _iter_paths(roots: Sequence[Path], skip: Callable[[Path, str], None]) -> Iterator[Path]:
    """Yield everything below the roots, hidden files and folders included, and roots that are
    files."""
    yield from (root for root in roots if not root.is_dir())
    folders = [root for root in roots if root.is_dir()]
    for _, folder, names in walk_tree(folders, hidden=True, skip=skip):
        yield from (folder / name for name in names)
