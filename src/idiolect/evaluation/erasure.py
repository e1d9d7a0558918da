"""Erases a person from reports, and from the answers and bases that evaluations cache.

A report has the scores of all people, and texts of some. A report that includes the erased person
is deleted as a whole, because its averages include that person's scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idiolect.evaluation.results import FORMAT
from idiolect.models.erasure import BaseModelErasure
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest, delete_files
from idiolect.privacy.search.file_search import LabeledTexts
from idiolect.privacy.search.scan import scan_file
from idiolect.storage.manifest import Manifest

ANSWERS_FOLDER = "answers"
_CACHED_BASE = re.compile(r"base-[0-9a-f]{16}")


class Reports:
    """Erases evaluation reports, with their page and pictures."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Say that the report includes the erased person or an affected one; empty if not."""
        path = folder / "report.json"
        tasks = read_report_tasks(path)
        # A numeric id means another person in another task.
        if not tasks or not any(map(leaving.covers_task, tasks)):
            return ""
        # Affected people have texts of the erased person in their histories.
        people = {leaving.person, *leaving.affected_people}
        named = any(scan_file(path, person, leaving.patterns) for person in sorted(people))
        return "a report that includes this person" if named else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        if not self.find(folder, leaving):
            return []
        why = "the report includes this person; run idiolect evaluate to write a new one"
        return [
            ErasureEffect(what="report", where=folder / "report.json", outcome="deleted", why=why)
        ]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete the report, ``report.json`` last: an interrupted erasure can then be repeated."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        pictures = sorted(
            p.name for t in _read_task_keys(folder) for p in folder.glob(f"{t}-*.png")
        )
        for name in (*pictures, "report.html", "report.json"):
            (folder / name).unlink(missing_ok=True)
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: the scan itself can read JSON and HTML."""
        return None


class Answers:
    """Erases cached answers of evaluations: deletes each file that includes the person."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Say how many files include the erased person or an affected one; empty if none."""
        files = _find_cached_answers(folder, leaving)
        return f"{len(files)} files of answers" if files else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        return self._make_effects(folder, _find_cached_answers(folder, leaving))

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete these files."""
        files = _find_cached_answers(folder, leaving)
        for path in files:
            path.unlink(missing_ok=True)
        return self._make_effects(folder, files)

    def _make_effects(self, folder: Path, files: Sequence[Path]) -> Sequence[ErasureEffect]:
        if not files:
            return []
        why = "cached answers; the next evaluation computes them again"
        count = len(files)
        return [
            ErasureEffect(what="answers", where=folder, outcome="deleted", count=count, why=why)
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: the scan itself can read JSON."""
        return None


class CachedBases:
    """Erases bases that evaluations adapted and cached: deletes each whose training data includes
    the person."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Say that the base was adapted on the person's items; empty if not."""
        return (
            BaseModelErasure().find(folder, leaving) if _CACHED_BASE.fullmatch(folder.name) else ""
        )

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        if not self.find(folder, leaving):
            return []
        why = "cached base; the next evaluation adapts a new one without this person"
        return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete the base, the manifest last: an interrupted erasure can then be repeated."""
        effects = self.preview(folder, leaving)
        if effects:
            delete_files(folder, [*sorted(Manifest.read_unchecked(folder).files), Manifest.NAME])
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: the scan itself can read safetensors and JSON."""
        return None


def _find_cached_answers(folder: Path, leaving: ErasureRequest) -> list[Path]:
    """Return the answer files that include the erased person, or a person whose history had texts
    of the erased one."""
    if folder.name != ANSWERS_FOLDER:
        return []
    # ``OUT/work/answers`` belongs to ``OUT/report.json``, which says the task. A numeric id means
    # another person in another task.
    report = folder.parent.parent / "report.json"
    if not any(map(leaving.covers_task, read_report_tasks(report) or [leaving.task])):
        return []
    people = sorted({leaving.person, *leaving.affected_people})
    return [
        path
        for path in sorted(folder.glob("*.json"))
        if any(scan_file(path, person, leaving.patterns) for person in people)
    ]


def read_report_tasks(path: Path) -> list[str]:
    """Return the tasks of an evaluation report; empty if the file is not such a report."""
    return [str(task["task"]) for task in _read_report(path).get("tasks", ())]


def _read_task_keys(folder: Path) -> list[str]:
    return [str(task["key"]) for task in _read_report(folder / "report.json").get("tasks", ())]


def _read_report(path: Path) -> dict[str, Any]:
    """Return the content of an evaluation report, or an empty object if it is another file."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}
    return content
