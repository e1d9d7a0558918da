"""What people bring: foreign exports read, datasets looked into, profiles written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.api.requests import ImportRequest, ProfileRequest
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener

if TYPE_CHECKING:
    from idiolect.history.summary import DatasetSummary
    from idiolect.importers.report import ImportReport


@dataclass(frozen=True, kw_only=True)
class ProfileSummary:
    """What writing profiles did."""

    out: Path
    writer: str
    people: int
    profiles: int
    seconds: float


def import_data(request: ImportRequest) -> ImportReport:
    """Read a foreign export into a dataset folder; with ``dry_run`` only report.

    Args:
        request: Which export, and into which dataset.

    Returns:
        What was read of each file, and what was skipped.

    Raises:
        DataError: For an export that cannot be read.
        UsageError: If neither ``out`` nor ``dry_run`` is given.

    Example:
        >>> import_data(ImportRequest(source=Path("export.zip"), out=Path("data/me")))
    """
    from idiolect.importers.registry import import_histories
    from idiolect.importers.report import ImportOptions

    options = ImportOptions(
        task=request.task or "",
        person=request.person or "",
        person_role=request.person_role or "",
        split=request.split or "",
    )
    out = request.out
    if out is None and not request.dry_run:
        raise UsageError("name the dataset folder to write, or ask for a dry run")
    imported = import_histories(request.source, format=request.format or "", options=options)
    if not request.dry_run and out is not None:
        imported.write_to_folder(out, name=request.name or "", overwrite=request.overwrite)
    return imported.report


def inspect_data(data: Path) -> DatasetSummary:
    """What stands in a dataset."""
    from idiolect.history.dataset import read_dataset
    from idiolect.history.summary import summarize_dataset
    from idiolect.tasks.registry import get_task

    dataset = read_dataset(data)
    return summarize_dataset(dataset, answer_field=get_task(dataset.task).target_field)


def profile(request: ProfileRequest, *, listener: Listener = null_listener) -> ProfileSummary:
    """Write textual profiles of a dataset's people: by the base model, or as plain facts.

    Args:
        request: About whom, and who writes.
        listener: Called with progress.

    Returns:
        How many profiles were written, and where.

    Raises:
        UsageError: For an unknown writer.

    Example:
        >>> profile(ProfileRequest(data=Path("data"), out=Path("profiles"), writer="facts"))
    """
    from idiolect.history.dataset import read_dataset
    from idiolect.profiles.write import FACTS_WRITER, write_profiles
    from idiolect.tasks.registry import get_task

    started = time.monotonic()
    dataset = read_dataset(request.data)
    histories = list(dataset.iter_histories(request.people or None))
    task = get_task(dataset.task)
    out, writer = request.out, request.writer
    if writer == FACTS_WRITER:
        made = write_profiles(histories, task, folder=out, listener=listener)
    elif writer == "model":
        from idiolect.inference.profile_writer import ModelProfileWriter
        from idiolect.models.base import load_base

        by = ModelProfileWriter(load_base(request.base))
        made = write_profiles(
            histories, task, by, name=by.name, folder=out, batch=8, listener=listener
        )
    else:
        raise UsageError(f"unknown writer {writer!r}; known: model, {FACTS_WRITER}")
    count = sum(map(len, made.values()))
    return ProfileSummary(
        out=out,
        writer=writer,
        people=len(made),
        profiles=count,
        seconds=time.monotonic() - started,
    )
