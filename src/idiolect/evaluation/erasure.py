"""Reports and what evaluations keep beside them, as holders of personal data.

Everybody's scores and some people's words stand in a report: one with who leaves in it is deleted
as a whole, since its figures are of them, too.
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
from idiolect.privacy.scan import LabeledTexts, scan_file
from idiolect.storage.manifest import Manifest

ANSWERS_FOLDER = "answers"
_CACHED_BASE = re.compile(r"base-[0-9a-f]{16}")


class Reports:
    """Reports of evaluations, with their page and pictures."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether one names or quotes who leaves, or somebody whose answers followed from them."""
        path = folder / "report.json"
        tasks = read_report_tasks(path)
        if not tasks or not any(map(leaving.is_same_person, tasks)):
            return ""
        people = {leaving.person, *leaving.affected_people}
        named = any(scan_file(path, person, leaving.patterns) for person in sorted(people))
        return "a report with them in it" if named else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete it, ``report.json`` last."""
        if not self.find(folder, leaving):
            return []
        pictures = sorted(
            p.name for t in _read_task_keys(folder) for p in folder.glob(f"{t}-*.png")
        )
        for name in (*pictures, "report.html", "report.json"):
            (folder / name).unlink(missing_ok=True)
        why = "it has them in it; idiolect evaluate makes it anew"
        return [
            ErasureEffect(what="report", where=folder / "report.json", outcome="deleted", why=why)
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """JSON and HTML, which everybody reads."""
        return None


class Answers:
    """Answers that evaluations keep: a file that has who leaves in it goes, it is a cache."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """How many files."""
        found = _find_cached_answers(folder, leaving)
        return f"{len(found)} files of answers" if found else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete them."""
        found = _find_cached_answers(folder, leaving)
        for path in found:
            path.unlink(missing_ok=True)
        why = "of a cache: whoever needs them asks again"
        if not found:
            return []
        count = len(found)
        return [
            ErasureEffect(what="answers", where=folder, outcome="deleted", count=count, why=why)
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """JSON, which everybody reads."""
        return None


class CachedBases:
    """Bases that evaluations adapted for themselves: deleted, they are made anew on other people's
    items by whoever needs them."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether who leaves is in it."""
        return (
            BaseModelErasure().find(folder, leaving) if _CACHED_BASE.fullmatch(folder.name) else ""
        )

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete all of it, the manifest last."""
        if not self.find(folder, leaving):
            return []
        delete_files(folder, [*sorted(Manifest.read_unchecked(folder).files), Manifest.NAME])
        why = "of a cache: whoever needs it makes it anew"
        return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Safetensors and JSON, which everybody reads."""
        return None


def _find_cached_answers(folder: Path, leaving: ErasureRequest) -> list[Path]:
    """Files of answers with who leaves in them, or with answers that followed from them."""
    if folder.name != ANSWERS_FOLDER:
        return []
    beside = folder.parent.parent / "report.json"
    if leaving.has_numeric_id and not any(
        map(leaving.is_same_person, read_report_tasks(beside) or [leaving.task])
    ):
        return []
    people = sorted({leaving.person, *leaving.affected_people})
    return [
        path
        for path in sorted(folder.glob("*.json"))
        if any(scan_file(path, person, leaving.patterns) for person in people)
    ]


def read_report_tasks(path: Path) -> list[str]:
    """The tasks of an evaluation's report; none where the file is no such report."""
    return [str(task["task"]) for task in _read_report(path).get("tasks", ())]


def _read_task_keys(folder: Path) -> list[str]:
    return [str(task["key"]) for task in _read_report(folder / "report.json").get("tasks", ())]


def _read_report(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except ValueError:
        return {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}
    return content
