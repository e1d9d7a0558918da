"""Imports the OPPU release: test people, their answers, and other people for task adaptation.

One folder per task with ``user_top_100_history.json`` (tweets: ``user_more_100_history.json``), the
same with ``_label``, and ``user_others.json``.
"""

from __future__ import annotations

from pathlib import Path

from idiolect.errors import MissingError
from idiolect.importers.formats.lamp.release import ReleasePart, import_release
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions

_TEST_FILES = ("user_top_100_history.json", "user_more_100_history.json")
_OTHERS_FILE = "user_others.json"


def _find_parts(folder: Path) -> list[ReleasePart]:
    """List the existing files; test people come first, because the first part with a person
    counts."""
    parts: list[ReleasePart] = []
    for name in _TEST_FILES:
        file, labels = folder / name, folder / name.replace(".json", "_label.json")
        if file.is_file():
            found = labels if labels.is_file() else None
            parts.append(ReleasePart(file=file, split="test", labels=found))
    if (folder / _OTHERS_FILE).is_file():
        parts.append(ReleasePart(file=folder / _OTHERS_FILE, split="other"))
    return parts


def _locate_folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _detect_format(path: Path) -> bool:
    if path.is_file() and not path.name.startswith("user_"):
        return False
    return bool(_find_parts(_locate_folder(path)))


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    assert path is not None  # import_histories requires a path for formats without a package
    folder = _locate_folder(path)
    parts = _find_parts(folder)
    if not parts:
        raise MissingError(f"{folder}: none of {', '.join((*_TEST_FILES, _OTHERS_FILE))} found")
    return import_release("oppu", folder, parts, options)


IMPORTER = Importer(
    name="oppu",
    title="the OPPU release (LaMP people, processed)",
    expects="a task's folder with user_top_100_history.json (or user_more_100_history.json), its "
    "_label.json, and user_others.json",
    detect=_detect_format,
    load=_load_histories,
    options=("task",),
)
