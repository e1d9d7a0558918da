"""Writes ``metrics.jsonl``: one appended line per measured moment of a run."""

from __future__ import annotations

import json
from pathlib import Path

from idiolect.events import Event, Metrics
from idiolect.storage.files import explain_os_errors
from idiolect.storage.permissions import create_empty_file, make_folder


class MetricsLog:
    """Listener that appends metrics to a file. A resumed run continues the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_errors("write", path):
            make_folder(path.parent)
            create_empty_file(path)

    def __call__(self, event: Event, /) -> None:
        """Append a ``Metrics`` event; ignore all others."""
        if isinstance(event, Metrics):
            with (
                explain_os_errors("write", self.path),
                self.path.open("a", encoding="utf-8") as out,
            ):
                out.write(json.dumps({"stage": event.stage, **event.values}) + "\n")
