"""The importers by name, and the detection of a path's format. Contains no format itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from idiolect.errors import MissingError, UsageError
from idiolect.importers.formats import chat_jsonl, chitchat, movielens, plain_jsonl
from idiolect.importers.formats.lamp import importer as lamp
from idiolect.importers.formats.lamp import oppu, perpcs
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions

IMPORTERS: Mapping[str, Importer] = {
    module.IMPORTER.name: module.IMPORTER
    for module in (movielens, chitchat, perpcs, oppu, lamp, plain_jsonl, chat_jsonl)
}
"""In the order in which detection tries them."""


def detect_importer(path: Path) -> Importer:
    """Return the importer for the files at ``path``; raises MissingError or UsageError."""
    if not path.exists():
        raise MissingError(f"{path}: no such file or folder")
    for importer in IMPORTERS.values():
        if importer.detect(path):
            return importer
    known = "\n".join(f"  {i.name}: {i.expects}" for i in IMPORTERS.values())
    raise UsageError(f"{path}: the format cannot be detected; name it with --format:\n{known}")


def import_histories(
    path: Path | None = None, *, format: str = "", options: ImportOptions | None = None
) -> ImportedHistories:
    """Read a data export; writes nothing.

    ``path`` is optional if the format reads an installed package. Raises UsageError for an unknown
    format or an option that the format does not take, MissingError if files are missing, and
    DataError, with file and line or record, if they are broken.
    """
    if format and format not in IMPORTERS:
        raise UsageError(f"unknown format {format!r}; known: {', '.join(IMPORTERS)}")
    if path is None and not (format and IMPORTERS[format].package):
        packaged = ", ".join(i.name for i in IMPORTERS.values() if i.package)
        raise UsageError(f"give a path, or one of the formats that need none: {packaged}")
    if path is not None and not path.exists():
        raise MissingError(f"{path}: no such file or folder")
    # Detection reads the files, so it comes after the cheap checks.
    importer = IMPORTERS[format] if format or path is None else detect_importer(path)
    # Reject options that the format would ignore.
    options = options or ImportOptions()
    for option in fields(options):
        if getattr(options, option.name) and option.name not in importer.options:
            raise UsageError(
                f"the format {importer.name} has no option {option.name!r}; "
                f"it takes: {', '.join(importer.options) or 'none'}"
            )
    return importer.load(path, options)
