"""A dataset as it is after a redaction, without writing it."""

from __future__ import annotations

from collections.abc import Iterator

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.redact import Redaction


class RedactedDataset(Dataset):
    """What ``rewrite_dataset`` would write. Histories are redacted when they are read."""

    def __init__(self, redaction: Redaction) -> None:
        # The files still hold the histories before the redaction, so they are read through it.
        self._redaction, original = redaction, redaction.dataset
        self.folder, self.manifest = original.folder, original.manifest
        self.name, self.task = original.name, original.task

    @property
    def people(self) -> tuple[str, ...]:
        """All remaining people, sorted."""
        gone = self._redaction.person if self._redaction.is_whole_person else None
        return tuple(person for person in self._redaction.dataset.people if person != gone)

    def get_counts(self, person: str) -> tuple[int, int]:
        """Return the number of items and of queries that are left of a person."""
        history = self.read_history(person)
        return len(history.items), len(history.queries)

    def read_history(self, person: str) -> History:
        """Return what is left of one person's history."""
        history, found = self._redaction.dataset.read_history(person), self._redaction
        is_changed = person == found.person or person in found.affected_people
        return found.redact_history(history) if is_changed else history

    def __len__(self) -> int:
        return len(self.people)

    def __iter__(self) -> Iterator[History]:
        return self.iter_histories()

    def __contains__(self, person: object) -> bool:
        is_gone = self._redaction.is_whole_person and person == self._redaction.person
        return not is_gone and person in self._redaction.dataset
