"""Whoever holds personal data on disk: what they can be asked when somebody leaves.

Each package says beside what it writes how that is found, erased and read; ``forget`` asks them
all. Knows folders and people; knows nothing of what the folders hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from idiolect.privacy.patterns import SearchPatterns
from idiolect.privacy.scan import LabelledTexts
from idiolect.storage.files import clean_partials, is_working_file

Outcome = Literal[
    "removed",
    "redacted",
    "deleted",
    "rebuilt",
    "discarded",
    "refused",
    "destroyed",
    "kept",
]
"""``removed``: their part of something that stays. ``taken away``: of somebody else, and made of
what left. ``refused``: left as it is, and its use is an error. ``destroyed``: the way from them to
their pseudonym."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureEffect:
    """What became of something, for the receipt."""

    what: str
    """E.g. ``dataset``, ``adapter``, ``report``."""
    where: Path
    outcome: Outcome
    person: str = ""
    """Whose it was, where it was somebody's."""
    count: int = 1
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ErasureRequest:
    """Who leaves, or which of their records; and what is known of them while that goes on."""

    person: str
    records: frozenset[str] = frozenset()
    """Ids of the records that are forgotten; empty for the whole person."""
    task: str = ""
    """The task of the dataset that they leave."""
    patterns: SearchPatterns = field(default_factory=SearchPatterns)
    """Texts that nobody else wrote, and numbers of their adapters."""
    affected_people: frozenset[str] = frozenset()
    """Others in whose histories their words stood."""
    files: frozenset[str] = frozenset()
    """sha256 of files that are made of their adapter (means)."""

    @property
    def is_whole_person(self) -> bool:
        """Whether it is the person, not some of their records."""
        return not self.records

    @property
    def has_numeric_id(self) -> bool:
        """Whether the id is a plain number: the same one may be somebody else's elsewhere."""
        return self.person.isdigit()

    def is_same_person(self, task: str) -> bool:
        """Whether somebody of that id, in something of that task, is this person."""
        return not self.has_numeric_id or task == self.task


class ErasureHandler(Protocol):
    """One kind of thing that holds personal data."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """What the folder holds of who leaves, in a few words; empty where nothing.

        Raises ArtifactError where it is of this kind, and cannot be read.
        """
        ...

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Take it out; nothing happens where ``find`` found nothing. After a kill, again."""
        ...

    def scan(self, path: Path) -> LabelledTexts | None:
        """Every text in a file of a format that only this holder reads; ``None`` for others."""
        ...


def walk_folders(tops: Sequence[Path]) -> Iterator[Path]:
    """Each folder once, in order, without what killed writers left in it; hidden ones are
    nobody's."""
    seen: set[Path] = set()
    for top in tops:
        for place, below, _ in os.walk(top):
            folder = Path(place)
            clean_partials(folder)
            below[:] = sorted(name for name in below if not name.startswith("."))
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def delete_files(folder: Path, names: Sequence[str]) -> None:
    """Delete files of a folder, in this order: the last one is what makes it be something, so that
    a kill leaves what is found again. The folder goes where nothing else is in it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for place, _, _ in os.walk(folder, topdown=False):
        below = Path(place)
        if all(is_working_file(path.name) and path.is_file() for path in below.iterdir()):
            for path in below.iterdir():
                path.unlink(missing_ok=True)
            below.rmdir()
