"""Datasets as holders of personal data: found, rewritten without somebody, and read for a scan."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from idiolect.history.dataset import MANIFEST_FILE, PEOPLE_FILE, ROWS_FILE, Dataset, read_dataset
from idiolect.history.parquet import read_cells
from idiolect.history.redact import REDACTED_TEXT, AuthoredText, Redaction
from idiolect.history.write import write_dataset
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.scan import LabeledTexts


class DatasetErasure:
    """Dataset folders; ``task_of`` says of a task whose words stand in which field."""

    def __init__(self, task_of: Callable[[str], AuthoredText], *, keep_joint: bool = False) -> None:
        self.task_of, self.keep_joint = task_of, keep_joint

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """How many rows, and others with their words in theirs."""
        found = self.plan_redaction(folder, leaving)
        if found is None or not found.is_needed:
            return ""
        return (
            f"{found.removed_count} records, and words in {len(found.affected_people)} others' "
            "histories"
        )

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Rewrite the dataset in one step."""
        found = self.plan_redaction(folder, leaving)
        if found is None or not found.is_needed:
            return []
        rewrite_dataset(found, folder)
        return list_effects(found, folder)

    def scan(self, path: Path) -> LabeledTexts | None:
        """Every text of a Parquet file."""
        return read_cells(path) if path.suffix == ".parquet" else None

    def plan_redaction(self, folder: Path, leaving: ErasureRequest) -> Redaction | None:
        """What goes of a dataset; ``None`` where the folder is none, or that id is another's."""
        if not is_dataset(folder):
            return None
        dataset = read_dataset(folder)
        if not leaving.is_same_person(dataset.task):
            return None
        return Redaction(
            dataset,
            leaving.person,
            self.task_of(dataset.task),
            records=leaving.records,
            keep_joint=self.keep_joint,
            known=leaving.patterns,
        )


def is_dataset(folder: Path) -> bool:
    """Whether a folder is one."""
    return all((folder / name).is_file() for name in (MANIFEST_FILE, ROWS_FILE, PEOPLE_FILE))


def rewrite_dataset(found: Redaction, into: Path) -> Dataset:
    """Write what stays of a dataset into a folder, in the place of what is there."""
    dataset = found.dataset
    told = dataset.manifest
    stay = [p for p in dataset.people if p != found.person or found.records]
    whole = not found.records
    return write_dataset(
        into,
        found.iter_histories(),
        task=dataset.task,
        source=_remove_person_id(found.person, told["source"]) if whole else told["source"],
        name=_remove_person_id(found.person, told["name"]) if whole else told["name"],
        splits={person: dataset.get_split(person) for person in stay if dataset.get_split(person)},
        settings=_remove_person_id(found.person, told["settings"]) if whole else told["settings"],
        overwrite=True,
    )


def list_effects(found: Redaction, where: Path) -> list[ErasureEffect]:
    """What rewriting does, for the receipt."""
    out: list[ErasureEffect] = []
    if found.removed_count or not found.records:
        what = "records" if found.records else "history"
        out.append(
            ErasureEffect(
                what=what,
                where=where,
                outcome="removed",
                person=found.person,
                count=found.removed_count,
            )
        )
    quoting = set(found.affected_people)
    if found.quotes_removed:
        quoting.add(found.person)
    out += [
        ErasureEffect(
            what="history",
            where=where,
            outcome="redacted",
            person=person,
            why=f"words of {found.person} stood in it",
        )
        for person in sorted(quoting)
    ]
    return out


def _remove_person_id(person: str, value: Any) -> Any:
    """Plain data in which an id that is no plain number stands no more."""
    if isinstance(value, dict):
        told = cast("dict[str, Any]", value)
        return {name: _remove_person_id(person, below) for name, below in told.items()}
    if isinstance(value, list):
        return [_remove_person_id(person, below) for below in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if value == person:
        return REDACTED_TEXT
    token = rf"(?<!\w){re.escape(person)}(?!\w)"
    return value if person.isdigit() else re.sub(token, REDACTED_TEXT, value)
