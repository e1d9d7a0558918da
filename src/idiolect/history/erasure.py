"""Datasets as holders of personal data: found, rewritten without somebody, and read for a scan."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from idiolect.history.dataset import MANIFEST, PEOPLE, ROWS, Dataset, read_dataset
from idiolect.history.parquet import read_cells
from idiolect.history.redact import REMOVED, Authored, Redaction
from idiolect.history.write import write_dataset
from idiolect.privacy.erasure import Effect, Leaving
from idiolect.privacy.scan import Words


class Datasets:
    """Dataset folders; ``task_of`` says of a task whose words stand in which field."""

    def __init__(self, task_of: Callable[[str], Authored], *, keep_joint: bool = False) -> None:
        self.task_of, self.keep_joint = task_of, keep_joint

    def find(self, folder: Path, leaving: Leaving) -> str:
        """How many rows, and others with their words in theirs."""
        found = self.redaction(folder, leaving)
        if found is None or not found.any:
            return ""
        return f"{found.gone} records, and words in {len(found.changed)} others' histories"

    def erase(self, folder: Path, leaving: Leaving) -> Sequence[Effect]:
        """Rewrite the dataset in one step."""
        found = self.redaction(folder, leaving)
        if found is None or not found.any:
            return []
        rewrite(found, folder)
        return effects(found, folder)

    def scan(self, path: Path) -> Words | None:
        """Every text of a Parquet file."""
        return read_cells(path) if path.suffix == ".parquet" else None

    def redaction(self, folder: Path, leaving: Leaving) -> Redaction | None:
        """What goes of a dataset; ``None`` where the folder is none, or that id is another's."""
        if not is_dataset(folder):
            return None
        dataset = read_dataset(folder)
        if not leaving.is_theirs(dataset.task):
            return None
        return Redaction(
            dataset,
            leaving.person,
            self.task_of(dataset.task),
            records=leaving.records,
            keep_joint=self.keep_joint,
            known=leaving.needles,
        )


def is_dataset(folder: Path) -> bool:
    """Whether a folder is one."""
    return all((folder / name).is_file() for name in (MANIFEST, ROWS, PEOPLE))


def rewrite(found: Redaction, into: Path) -> Dataset:
    """Write what stays of a dataset into a folder, in the place of what is there."""
    dataset = found.dataset
    told = dataset.manifest
    stay = [p for p in dataset.people if p != found.person or found.records]
    whole = not found.records
    return write_dataset(
        into,
        found.histories(),
        task=dataset.task,
        source=_without(found.person, told["source"]) if whole else told["source"],
        name=_without(found.person, told["name"]) if whole else told["name"],
        splits={person: dataset.split(person) for person in stay if dataset.split(person)},
        settings=_without(found.person, told["settings"]) if whole else told["settings"],
        overwrite=True,
    )


def effects(found: Redaction, where: Path) -> list[Effect]:
    """What rewriting does, for the receipt."""
    out: list[Effect] = []
    if found.gone or not found.records:
        what = "records" if found.records else "history"
        out.append(
            Effect(what=what, where=where, outcome="removed", person=found.person, count=found.gone)
        )
    quoting = set(found.changed)
    if found.quoted:
        quoting.add(found.person)
    out += [
        Effect(
            what="history",
            where=where,
            outcome="redacted",
            person=person,
            why=f"words of {found.person} stood in it",
        )
        for person in sorted(quoting)
    ]
    return out


def _without(person: str, value: Any) -> Any:
    """Plain data in which an id that is no plain number stands no more."""
    if isinstance(value, dict):
        told = cast("dict[str, Any]", value)
        return {name: _without(person, below) for name, below in told.items()}
    if isinstance(value, list):
        return [_without(person, below) for below in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if value == person:
        return REMOVED
    token = rf"(?<!\w){re.escape(person)}(?!\w)"
    return value if person.isdigit() else re.sub(token, REMOVED, value)
