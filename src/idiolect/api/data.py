"""What people bring: foreign exports read, datasets looked into, profiles written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.errors import UsageError
from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.history.summary import Description
    from idiolect.importers.report import ImportReport


@dataclass(frozen=True, kw_only=True)
class ProfileSummary:
    """What writing profiles did."""

    out: Path
    writer: str
    people: int
    profiles: int
    seconds: float


def import_data(
    source: Path | None,
    out: Path | None,
    *,
    format: str | None = None,
    task: str | None = None,
    person: str | None = None,
    person_role: str | None = None,
    split: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Read a foreign export into a dataset folder; with ``dry_run`` only report."""
    from idiolect.importers.registry import import_histories
    from idiolect.importers.report import ImportOptions

    options = ImportOptions(
        task=task or "", person=person or "", person_role=person_role or "", split=split or ""
    )
    if out is None and not dry_run:
        raise UsageError("name the dataset folder to write, or ask for a dry run")
    imported = import_histories(source, format=format or "", options=options)
    if not dry_run and out is not None:
        imported.write(out, name=name or "", overwrite=overwrite)
    return imported.report


def inspect_data(data: Path) -> Description:
    """What stands in a dataset."""
    from idiolect.history.dataset import read_dataset
    from idiolect.history.summary import describe
    from idiolect.tasks.registry import get_task

    dataset = read_dataset(data)
    return describe(dataset, answer_field=get_task(dataset.task).target_field)


def profile(
    data: Path,
    out: Path,
    *,
    base: str = "default",
    writer: str = "model",
    people: Sequence[str] = (),
    listener: Listener = silent,
) -> ProfileSummary:
    """Write textual profiles of a dataset's people: by the base model, or as plain facts."""
    from idiolect.history.dataset import read_dataset
    from idiolect.profiles.write import FACTS, write_profiles
    from idiolect.tasks.registry import get_task

    started = time.monotonic()
    dataset = read_dataset(data)
    histories = list(dataset.histories(people or None))
    task = get_task(dataset.task)
    if writer == FACTS:
        made = write_profiles(histories, task, folder=out, listener=listener)
    elif writer == "model":
        from idiolect.inference.profile_writer import BaseWriter
        from idiolect.models.base import load_base

        by = BaseWriter(load_base(base))
        made = write_profiles(
            histories, task, by, name=by.name, folder=out, batch=8, listener=listener
        )
    else:
        raise UsageError(f"unknown writer {writer!r}; known: model, {FACTS}")
    count = sum(map(len, made.values()))
    return ProfileSummary(
        out=out,
        writer=writer,
        people=len(made),
        profiles=count,
        seconds=time.monotonic() - started,
    )
