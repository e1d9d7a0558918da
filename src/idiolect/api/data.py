"""API functions that make data: import exports, summarize datasets, write profiles."""

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

PROFILE_BATCH = 8
"""Number of profiles that the base model generates at a time."""


@dataclass(frozen=True, kw_only=True)
class ProfileSummary:
    """The result of ``profile``."""

    out: Path
    """Folder that holds the profiles."""
    writer: str
    """``model`` or ``facts``."""
    people: int
    """Number of people with profiles."""
    profiles: int
    """Number of profiles; each person has one for each part of their history."""
    seconds: float


def import_data(request: ImportRequest) -> ImportReport:
    """Read an export of another program and write it as a dataset folder.

    With ``dry_run``, the function reads everything and reports, but writes nothing.

    Args:
        request: The export to read and the dataset folder to write.

    Returns:
        The number of records read from each file, and the records skipped, with reasons.

    Raises:
        ConsentError: If the words are those of the other side of a chat, and the request does not
            say how this person agreed.
        DataError: If a file or record is broken.
        MissingError: If ``source`` does not exist.
        UsageError: If neither ``out`` nor ``dry_run`` is given, if the format is unknown, or if it
            does not take one of the options.

    Example:
        >>> import_data(ImportRequest(source=Path("export.zip"), out=Path("data/me")))
    """
    from idiolect.importers.registry import import_histories
    from idiolect.importers.report import ImportOptions
    from idiolect.importers.suppress import leave_out_forgotten

    options = ImportOptions(
        task=request.task or "",
        person=request.person or "",
        person_role=request.person_role or "",
        split=request.split or "",
        consent_of_person=request.consent_of_person or "",
        machine_text=request.machine_text,
    )
    out = request.out
    if out is None and not request.dry_run:
        raise UsageError("no output folder: set out to a dataset folder, or set dry_run")
    # Read everything before writing anything: a broken file leaves no dataset behind.
    imported = import_histories(request.source, format=request.format or "", options=options)
    imported = leave_out_forgotten(imported, request.suppress, out)
    if not request.dry_run and out is not None:
        imported.write_to_folder(out, name=request.name or "", overwrite=request.overwrite)
    return imported.report


def inspect_data(data: Path) -> DatasetSummary:
    """Summarize a dataset: people, splits, history lengths, dates, fields, and example items.

    Args:
        data: Folder of the dataset.

    Returns:
        Counts and lengths, plus at most three example items.

    Raises:
        MissingError: If ``data`` is not a dataset folder.
        IntegrityError: If a file of the dataset was changed or truncated.

    Example:
        >>> inspect_data(Path("data/films")).people
        671
    """
    from idiolect.history.dataset import read_dataset
    from idiolect.history.summary import summarize_dataset
    from idiolect.tasks.registry import get_task

    dataset = read_dataset(data)
    return summarize_dataset(dataset, answer_field=get_task(dataset.task).target_field)


def profile(request: ProfileRequest, *, listener: Listener = null_listener) -> ProfileSummary:
    """Write textual profiles of the people in a dataset.

    The base model writes them, or a writer of plain facts that needs no model. A person gets
    several profiles, each from an earlier part of their history, so that training never shows an
    item together with a profile that was made from it (PAG).

    Args:
        request: The dataset, the people, and the writer.
        listener: Receives progress events.

    Returns:
        The number of people and profiles, and the folder.

    Raises:
        MissingError: If the dataset, or a person in it, does not exist.
        MismatchError: If a history holds what was forgotten.
        UsageError: If the writer is unknown, or if ``out`` holds files that are not profiles.

    Example:
        >>> profile(ProfileRequest(data=Path("data"), out=Path("profiles"), writer="facts"))
    """
    from idiolect.history.dataset import read_dataset
    from idiolect.history.suppress import require_none_forgotten
    from idiolect.profiles.write import FACTS_WRITER, write_profiles
    from idiolect.tasks.registry import get_task

    started = time.monotonic()
    dataset = read_dataset(request.data)
    histories = list(dataset.iter_histories(request.people or None))
    task = get_task(dataset.task)
    out, writer = request.out, request.writer
    require_none_forgotten(histories, task.name, request.data, out)
    if writer == FACTS_WRITER:
        profiles = write_profiles(histories, task, folder=out, listener=listener)
    elif writer == "model":
        # Only this writer needs torch and a base model.
        from idiolect.inference.profile_writer import ModelProfileWriter
        from idiolect.models.load import load_base

        by = ModelProfileWriter(load_base(request.base))
        profiles = write_profiles(
            histories, task, by, name=by.name, folder=out, batch=PROFILE_BATCH, listener=listener
        )
    else:
        raise UsageError(f"unknown writer {writer!r}; known: model, {FACTS_WRITER}")
    return ProfileSummary(
        out=out,
        writer=writer,
        people=len(profiles),
        profiles=sum(map(len, profiles.values())),
        seconds=time.monotonic() - started,
    )
