"""The protocol for erasing a person's data: what every package that stores personal data
implements.

Each package defines, next to the code that writes its files, how personal data in them is found,
erased and read. ``forget`` calls all these handlers. This module depends on folders and people,
but not on what the folders contain.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from idiolect.privacy.search.file_search import LabeledTexts
from idiolect.privacy.search.patterns import SearchPatterns
from idiolect.storage.files import clean_partials, is_working_file
from idiolect.storage.tree import SkipListener, ignore_skipped, unlink_inside, walk_tree

Outcome = Literal[
    "removed",
    "redacted",
    "deleted",
    "rebuilt",
    "discarded",
    "refused",
    "destroyed",
    "kept",
    "added",
]
"""What happened to an artifact.

- ``removed``: the person's own part was removed from something that remains.
- ``redacted``: the person's words were replaced inside another person's data.
- ``deleted``: the whole file or folder was deleted.
- ``rebuilt``: it depended on the erased data and was computed again without it.
- ``discarded``: it belonged to another person, depended on the erased data, and was not rebuilt.
- ``refused``: it remains unchanged, and using it is an error.
- ``destroyed``: the link from the person to their pseudonym was destroyed.
- ``kept``: it remains and stays usable.
- ``added``: hashes of what is forgotten were added to it (a suppression list).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureEffect:
    """What happened to one artifact, for the receipt."""

    what: str
    """E.g. ``dataset``, ``adapter``, ``report``."""
    where: Path
    outcome: Outcome
    person: str = ""
    """The person it belonged to; empty if it belonged to no single person."""
    count: int = 1
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ErasureRequest:
    """The person to erase, or some of their records, and what is known about them during the
    erasure."""

    person: str
    records: frozenset[str] = frozenset()
    """Ids of the records to erase; empty for the whole person."""
    contents: frozenset[str] | None = None
    """Hashes of the content of these records, because another dataset can use the same ids for
    other records; ``None`` if their content is not known."""
    task: str = ""
    """The task of the dataset that the person is erased from."""
    patterns: SearchPatterns = field(default_factory=SearchPatterns)
    """Texts that only this person wrote, and weights of their adapters."""
    affected_people: frozenset[str] = frozenset()
    """Other people whose histories quote the person."""
    files: frozenset[str] = frozenset()
    """SHA-256 of files that were computed from the person's adapter (means)."""

    @property
    def is_whole_person(self) -> bool:
        """Whether the whole person is erased, not only some records."""
        return not self.records

    @property
    def has_numeric_id(self) -> bool:
        """Whether the id is a plain number; other datasets may use the same number for another
        person."""
        return self.person.isdigit()

    def is_same_person(self, task: str) -> bool:
        """Whether this id means the same person in an artifact of the given task."""
        return not self.has_numeric_id or task == self.task

    def covers_task(self, task: str) -> bool:
        """Whether artifacts of a task can have been made of what is erased: of any task for the
        whole person, of the dataset's task if only records are erased."""
        return self.is_same_person(task) and (self.is_whole_person or task == self.task)


class ErasureHandler(Protocol):
    """Finds, erases and reads one kind of artifact that contains personal data."""

    def find(self, folder: Path, request: ErasureRequest, /) -> str:
        """Describe in a few words what the folder contains of the person; empty if nothing.

        Raises ArtifactError if the folder is of this kind but cannot be read.
        """
        ...

    def preview(self, folder: Path, request: ErasureRequest, /) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it; empty if ``find`` finds nothing."""
        ...

    def erase(self, folder: Path, request: ErasureRequest, /) -> Sequence[ErasureEffect]:
        """Erase the person's data, exactly as ``preview`` says.

        An interrupted call can be repeated.
        """
        ...

    def scan(self, path: Path) -> LabeledTexts | None:
        """Yield every text of a file whose format only this handler reads; ``None`` for other
        files."""
        ...


def walk_folders(roots: Sequence[Path], *, skip: SkipListener = ignore_skipped) -> Iterator[Path]:
    """Yield each folder below ``roots`` once, in sorted order; links are followed (``walk_tree``).

    Removes what killed writers left in each folder. Hidden folders are left out. ``skip`` receives
    what cannot be read or is not followed.
    """
    for _, folder, _ in walk_tree(roots, hidden=False, skip=skip):
        clean_partials(folder)
        yield folder


def delete_files(folder: Path, names: Sequence[str]) -> None:
    """Delete files of a folder in the given order, and nothing outside of it.

    The last file is the one that identifies the artifact, so that after a kill the rest is still
    found. Folders that contain nothing else are removed as well, and a link to such a folder.
    """
    for name in names:
        unlink_inside(folder, name)
    place = folder.resolve()
    # Bottom-up, so that a folder whose subfolders were removed is empty when its turn comes.
    for walked, _, _ in os.walk(place, topdown=False):
        subfolder = Path(walked)
        if all(is_working_file(path.name) and path.is_file() for path in subfolder.iterdir()):
            for path in subfolder.iterdir():
                path.unlink(missing_ok=True)
            subfolder.rmdir()
    if folder.is_symlink() and not place.exists():
        folder.unlink()
