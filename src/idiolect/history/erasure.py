"""Erases a person from datasets: the erasure handler of dataset folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from idiolect.history.dataset import MANIFEST_FILE, PEOPLE_FILE, ROWS_FILE, Dataset, read_dataset
from idiolect.history.redact import REDACTED_TEXT, AuthoredText, Redaction
from idiolect.history.write import write_dataset
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.search.file_search import LabeledTexts


class DatasetErasure:
    """Erasure handler of dataset folders.

    ``task_of`` returns a task by name; the task says which field contains whose words.
    ``keep_joint`` keeps records that the person shares with others (co-authored papers) in the
    others' histories.
    """

    def __init__(self, task_of: Callable[[str], AuthoredText], *, keep_joint: bool = False) -> None:
        self.task_of, self.keep_joint = task_of, keep_joint

    def find(self, folder: Path, request: ErasureRequest) -> str:
        """Describe how many records the person has, and how many other histories quote them."""
        found = self.plan_redaction(folder, request)
        if found is None or not found.is_needed:
            return ""
        return (
            f"{found.removed_count} records, and words in {len(found.affected_people)} others' "
            "histories"
        )

    def preview(self, folder: Path, request: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        found = self.plan_redaction(folder, request)
        return list_effects(found, folder) if found is not None and found.is_needed else []

    def erase(self, folder: Path, request: ErasureRequest) -> Sequence[ErasureEffect]:
        """Rewrite the dataset without the person, in one atomic step."""
        found = self.plan_redaction(folder, request)
        if found is None or not found.is_needed:
            return []
        rewrite_dataset(found, folder)
        return list_effects(found, folder)

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: the scan itself can read Parquet and JSON."""
        return None

    def plan_redaction(self, folder: Path, request: ErasureRequest, /) -> Redaction | None:
        """Compute what to remove from a dataset.

        Returns ``None`` if the folder is not a dataset, or if the id belongs to another person
        there.
        """
        if not is_dataset(folder):
            return None
        dataset = read_dataset(folder)
        # A numeric id names another person in a dataset of another task.
        if not request.is_same_person(dataset.task):
            return None
        return Redaction(
            dataset,
            request.person,
            self.task_of(dataset.task),
            records=request.records,
            contents=request.contents,
            keep_joint=self.keep_joint,
            known=request.patterns,
        )


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset."""
    return all((folder / name).is_file() for name in (MANIFEST_FILE, ROWS_FILE, PEOPLE_FILE))


def rewrite_dataset(found: Redaction, into: Path) -> Dataset:
    """Write what remains of a dataset into a folder, replacing its content.

    If the whole person is erased, their id is also removed from source, name and settings.
    """
    dataset = found.dataset
    manifest = dataset.manifest
    remaining = [p for p in dataset.people if p != found.person or not found.is_whole_person]

    def clean_value(value: Any) -> Any:
        return _remove_person_id(found.person, value) if found.is_whole_person else value

    return write_dataset(
        into,
        found.iter_histories(),
        task=dataset.task,
        source=clean_value(manifest["source"]),
        name=clean_value(manifest["name"]),
        splits={
            person: dataset.get_split(person) for person in remaining if dataset.get_split(person)
        },
        settings=clean_value(manifest["settings"]),
        overwrite=True,
    )


def list_effects(found: Redaction, where: Path) -> list[ErasureEffect]:
    """Return what rewriting the dataset does, for the receipt."""
    out: list[ErasureEffect] = []
    # The person's own rows.
    if found.removed_count or found.is_whole_person:
        what = "history" if found.is_whole_person else "records"
        out.append(
            ErasureEffect(
                what=what,
                where=where,
                outcome="removed",
                person=found.person,
                count=found.removed_count,
            )
        )
    # Other histories that quote them, and their own if only records are erased.
    quoting_people = set(found.affected_people)
    if found.quotes_removed:
        quoting_people.add(found.person)
    out += [
        ErasureEffect(
            what="history",
            where=where,
            outcome="redacted",
            person=person,
            why=f"it quoted {found.person}",
        )
        for person in sorted(quoting_people)
    ]
    return out


def _remove_person_id(person: str, value: Any) -> Any:
    """Return plain data with the person's id replaced.

    An id that is a plain number is replaced only if it is a whole value.
    """
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: _remove_person_id(person, inner) for name, inner in entries.items()}
    if isinstance(value, list):
        return [_remove_person_id(person, inner) for inner in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if value == person:
        return REDACTED_TEXT
    token = rf"(?<!\w){re.escape(person)}(?!\w)"
    return value if person.isdigit() else re.sub(token, REDACTED_TEXT, value)
