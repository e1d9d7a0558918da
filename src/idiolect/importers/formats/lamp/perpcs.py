"""Imports the Per-Pcs release: people for the base, candidates for sharing, and test people.

One folder per task with ``user_base_LLM.json`` (split ``other``), ``user_anchor_candidate.json``
(``candidate``), ``user_reserve_10_percent.json`` (``reserve``) and ``test_100/user_test_100.json``
with its ``_label.json`` (``test``; tweets: ``user_more_100_history.json``).
"""

from __future__ import annotations

from pathlib import Path

from idiolect.errors import MissingError
from idiolect.importers.formats.lamp.release import ReleasePart, import_release
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions

_TEST_FILES = ("user_test_100.json", "user_more_100_history.json", "user_top_100_history.json")
_OTHER_FILES = {
    "user_anchor_candidate.json": "candidate",
    "user_base_LLM.json": "other",
    "user_reserve_10_percent.json": "reserve",
}


def _find_parts(folder: Path) -> list[ReleasePart]:
    """List the existing files; test people come first, because the first part with a person
    counts."""
    files = [place / name for place in (folder / "test_100", folder) for name in _TEST_FILES]
    parts: list[ReleasePart] = []
    # Only the first existing test file is used.
    for file in [place for place in files if place.is_file()][:1]:
        labels = file.with_name(file.name.replace(".json", "_label.json"))
        parts.append(
            ReleasePart(file=file, split="test", labels=labels if labels.is_file() else None)
        )
    for name, split in _OTHER_FILES.items():
        if (folder / name).is_file():
            parts.append(ReleasePart(file=folder / name, split=split))
    return parts


def _locate_folder(path: Path) -> Path:
    folder = path if path.is_dir() else path.parent
    return folder.parent if folder.name == "test_100" else folder


def _detect_format(path: Path) -> bool:
    if path.is_file() and not path.name.startswith("user_"):
        return False
    names = {part.file.name for part in _find_parts(_locate_folder(path))}
    return bool(names & {_TEST_FILES[0], *_OTHER_FILES})


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    assert path is not None  # import_histories requires a path for formats without a package
    folder = _locate_folder(path)
    parts = _find_parts(folder)
    if not parts:
        raise MissingError(f"{folder}: none of {', '.join((*_TEST_FILES, *_OTHER_FILES))} found")
    return import_release("perpcs", folder, parts, options)


IMPORTER = Importer(
    name="perpcs",
    title="the Per-Pcs release (LaMP people, processed)",
    expects="a task's folder with test_100/user_test_100.json, its _label.json, "
    "user_base_LLM.json and user_anchor_candidate.json",
    detect=_detect_format,
    load=_load_histories,
    options=("task",),
)
