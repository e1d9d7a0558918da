"""The result of an import: histories, and a report of what was read, what was skipped, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.write import write_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRecords:
    """Records that were skipped for one reason."""

    reason: str
    count: int
    first: str
    """The place of the first of them: a line, or a record's position and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What was read from one file."""

    file: str
    unit: str
    """What is counted: ``ratings``, ``turns``, ``history items and queries``."""
    read: int
    skipped: tuple[SkippedRecords, ...] = ()

    def format_lines(self) -> list[str]:
        """Return ``FILE: read N UNIT, skipped M``, and one line per reason."""
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
    """What was read from each file, and what the importer decided."""

    files: tuple[FileReport, ...]
    notes: tuple[str, ...] = ()

    def format_lines(self) -> list[str]:
        """Return the report as ``--dry-run`` prints it."""
        return [line for file in self.files for line in file.format_lines()] + [
            f"note: {note}" for note in self.notes
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedHistories:
    """Histories from a data export, not written yet."""

    importer: str
    source: str
    task: str
    histories: tuple[History, ...]
    """Sorted by person."""
    report: ImportReport
    splits: Mapping[str, str] = field(default_factory=dict[str, str])
    """The split of each person, ``test`` or ``other``; empty if the source has no splits."""
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    def write_to_folder(self, folder: Path, *, name: str = "", overwrite: bool = False) -> Dataset:
        """Write the histories as a dataset folder; raises the same errors as ``write_dataset``
        does."""
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
    """Options of an import besides the path; each importer lists those it takes."""

    task: str = ""
    """The name of the task, if the files do not name it."""
    person: str = ""
    """The person whose chats these are, if the file does not say."""
    person_role: str = ""
    """The role whose words are the person's own; empty means ``user``."""
    split: str = ""
    """Only this split of the benchmark: ``train``, ``dev`` or ``test``."""
    consent_of_person: str = ""
    """How the person of the other side of a chat agreed that their words are learned."""
    machine_text: bool = False
    """Whether the other side of a chat is a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One export format."""

    name: str
    title: str
    expects: str
    """The files it reads, as one phrase."""
    detect: Callable[[Path], bool]
    """Whether a path looks like this format; checks only names and first bytes."""
    load: Callable[[Path | None, ImportOptions], ImportedHistories]
    options: tuple[str, ...] = ()
    """The fields of ``ImportOptions`` that the format takes."""
    package: str = ""
    """The installed package that is read if no path is given; empty if there is none."""
