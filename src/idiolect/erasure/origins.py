"""Tells which artifacts were made from histories that lose something, by the fingerprints in their
records.

An artifact does not name the dataset it was made from. Its record holds a fingerprint of the items,
which is compared with the histories of every dataset found, as they are before anything changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from idiolect.adapters.store.shard import AdapterRecord
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.redact import Redaction
from idiolect.training.runs.plan import PersonalConfig


@dataclass(frozen=True, kw_only=True)
class HistoryOrigins:
    """The datasets that artifacts can have been made from."""

    main: Redaction
    """The dataset whose people or records are forgotten."""
    others: Sequence[Redaction] = ()
    """Other datasets that lose something."""
    untouched: Sequence[Dataset] = field(default_factory=list[Dataset])
    """Other datasets that lose nothing."""

    @cached_property
    def _redactions(self) -> tuple[Redaction, ...]:
        return (self.main, *self.others)

    def list_people(self, task: str) -> frozenset[str]:
        """Return the people of a task whose histories change, without a person who is forgotten
        entirely."""
        out: set[str] = set()
        for found in self._redactions:
            if found.dataset.task == task and found.is_needed:
                out |= found.affected_people
                out |= set() if found.is_whole_person else {found.person}
        return frozenset(out)

    def is_affected(self, store: AdapterStore, record: AdapterRecord) -> bool:
        """Whether an adapter was made from a history that loses something, or may have been."""
        last = read_last_items(store)
        return self._is_affected(
            store.task, record.person, lambda history: is_stale(record, history, last)
        )

    def is_recipe_affected(self, task: str, person: str, fingerprint: str) -> bool:
        """Whether a recipe, made from the history with this fingerprint, loses something."""
        return self._is_affected(
            task,
            person,
            lambda history: history is None or history.compute_fingerprint() != fingerprint,
        )

    def rebuilds_from_main(self, store: AdapterStore, record: AdapterRecord) -> bool:
        """Whether an adapter belongs to the main dataset, so that this can replace it."""
        if store.task != self.main.dataset.task:
            return False
        last, person = read_last_items(store), record.person
        others = [found.dataset for found in self.others] + [*self.untouched]
        fits_other = any(
            dataset.task == store.task
            and not is_stale(record, _read_history(dataset, person), last)
            for dataset in others
        )
        return not fits_other or not is_stale(
            record, _read_history(self.main.dataset, person), last
        )

    def _is_affected(
        self, task: str, person: str, is_other: Callable[[History | None], bool]
    ) -> bool:
        """Whether an artifact of a person was made from something that changes.

        ``is_other`` says whether an artifact was made from another history than the given one.
        """
        redactions = [found for found in self._redactions if found.dataset.task == task]
        # What equals a redacted history holds nothing of what is forgotten.
        redacted = [
            found.redact_history(history)
            for found in redactions
            if (history := _read_history(found.dataset, person)) is not None
        ]
        if any(not is_other(history) for history in redacted):
            return False
        if any(not is_other(_read_history(found.dataset, person)) for found in redactions):
            return True
        # Made from a dataset that loses nothing.
        same = [dataset for dataset in self.untouched if dataset.task == task]
        if any(not is_other(_read_history(dataset, person)) for dataset in same):
            return False
        # Of unknown origin: it may have been made from an earlier state of a dataset that changes.
        return person in self.list_people(task)


def read_last_items(store: AdapterStore) -> int:
    """Return the number of last items per person that a store was trained on; 0 means all."""
    return from_plain(PersonalConfig, store.settings, where=str(store.folder)).last_items


def is_stale(record: AdapterRecord, history: History | None, last: int) -> bool:
    """Return whether an adapter was trained on anything other than the first items of ``history``.

    An imported adapter does not record its items, so it counts as stale if it exists.
    """
    if record.row is None and not record.items:
        return False
    if history is None or not record.items:
        return True
    # The record's fingerprint covers the items that training used.
    used = history.take_last(last) if last else history
    first = History(history.person, used.items[: record.items])
    return first.compute_fingerprint() != record.history


def find_histories(dataset: Dataset, people: Collection[str]) -> dict[str, History | None]:
    """Return the histories of some people, ``None`` for a person who is not in the dataset."""
    return {
        person: dataset.read_history(person) if person in dataset else None
        for person in sorted(people)
    }


def _read_history(dataset: Dataset, person: str) -> History | None:
    return dataset.read_history(person) if person in dataset else None
