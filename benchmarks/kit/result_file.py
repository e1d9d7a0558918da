"""The result of a benchmark as a file that ``docs/build/render.py`` turns into a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.storage.files import write_atomic


def write_result(
    path: Path,
    *,
    page: str,
    what: str,
    script: str,
    seeds: Sequence[int],
    minutes: float,
    targets: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    tables: Iterable[Mapping[str, Any]],
    raw: object,
    **about: object,
) -> None:
    """Write a result: what was measured by which script on this machine, in how many minutes.

    ``about`` is added to the environment.
    """
    result = {
        "name": path.stem,
        "page": page,
        "what": what,
        "command": f"python benchmarks/{script}.py --json docs/results/{path.name}",
        "environment": {
            "hardware": describe_hardware(),
            "versions": list_versions(),
            "minutes": round(minutes, 1),
            **about,
        },
        "seeds": seeds,
        "targets": targets,
        "notes": notes,
        "tables": list(tables),
        "raw": raw,
    }
    write_atomic(path, json.dumps(result, indent=1, sort_keys=True) + "\n")
