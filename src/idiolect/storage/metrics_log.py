"""``metrics.jsonl``: one line for every measured moment of a run, appended as it happens."""

from __future__ import annotations

import json
from pathlib import Path

from idiolect.events import Event, Metrics
from idiolect.storage.files import explain_os_errors


class MetricsLog:
    """A listener that appends what is measured to a file; a resumed run goes on in the same one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_errors("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def __call__(self, event: Event, /) -> None:
        """Write a ``Measured`` event; others are not kept."""
        if isinstance(event, Metrics):
            with (
                explain_os_errors("write", self.path),
                self.path.open("a", encoding="utf-8") as out,
            ):
                out.write(json.dumps({"stage": event.stage, **event.values}) + "\n")
