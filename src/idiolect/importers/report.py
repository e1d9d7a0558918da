"""What an importer gives back: histories, and a report of what was read, skipped and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.write import write_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRecords:
    """Records left out for one reason."""

    reason: str
    count: int
    first: str
    """Where the first of them is: a line, or a record's place and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What one file gave."""

    file: str
    unit: str
    """What was counted: ``ratings``, ``turns``, ``history items and queries``."""
    read: int
    skipped: tuple[SkippedRecords, ...] = ()

    def format_lines(self) -> list[str]:
        """``FILE: read N UNIT, skipped M``, and one line a reason."""
        total = sum(s.count for s in self.skipped)
        head = f"{self.file}: read {self.read:,} {self.unit}, skipped {total:,}"
        if not self.skipped:
            return [head]
        return [
            head + ", because",
            *(f"  {s.count:,}: {s.reason} (first: {s.first})" for s in self.skipped),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What every file gave, and what was decided on the way."""

    files: tuple[FileReport, ...]
    notes: tuple[str, ...] = ()

    def format_lines(self) -> list[str]:
        """The report as ``--dry-run`` prints it."""
        return [line for file in self.files for line in file.format_lines()] + [
            f"note: {note}" for note in self.notes
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedHistories:
    """Histories out of a foreign export, not yet written anywhere."""

    importer: str
    source: str
    task: str
    histories: tuple[History, ...]
    """Sorted by person."""
    report: ImportReport
    splits: Mapping[str, str] = field(default_factory=dict[str, str])
    """A person's part of the source, ``test`` or ``other``; absent where it has no parts."""
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    def write_to_folder(self, folder: Path, *, name: str = "", overwrite: bool = False) -> Dataset:
        """Write the histories as a dataset folder; raises as ``write_dataset`` does."""
        return write_dataset(
            folder,
            self.histories,
            task=self.task,
            source=f"{self.importer}: {self.source}",
            name=name,
            splits=self.splits,
            settings={"importer": self.importer, **self.settings},
            overwrite=overwrite,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What can be said to an importer beside the path; each importer names those it takes."""

    task: str = ""
    """The task's name, where the files do not say."""
    person: str = ""
    """Whose chats these are, where the lines do not say."""
    person_role: str = ""
    """The role whose words are the person's own; ``user`` where not given."""
    split: str = ""
    """Only this split of the benchmark: ``train``, ``dev`` or ``test``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One export format."""

    name: str
    title: str
    expects: str
    """Which files, in a sentence."""
    detect: Callable[[Path], bool]
    """Whether a path looks like this format, from names and first bytes only."""
    load: Callable[[Path | None, ImportOptions], ImportedHistories]
    options: tuple[str, ...] = ()
    """The fields of ``ImportOptions`` that it takes."""
    package: str = ""
    """The installed package that is read where no path is given."""
