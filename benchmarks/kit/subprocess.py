"""The benchmark's side of the protocol with a method's process (the other is ``orders.py``)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from idiolect.errors import TrainingError

BENCHMARKS = Path(__file__).resolve().parents[1]


class MethodProcess:
    """A running process of a method; use it in a ``with`` block.

    The calls raise TrainingError with the last lines of its log if the process has ended.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name, self.log = name, log
        path = os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))
        with log.open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )

    def __enter__(self) -> MethodProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_until_ready(self) -> None:
        """Wait until the process has loaded what it needs."""
        self._read_answer()

    def send_order(self, order: Any) -> Any:
        """Send an order and return the answer, both as JSON data."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # reading the answer raises the error
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        return self._read_answer()

    def _read_answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise TrainingError(f"{self.name}: its process ended: {' | '.join(said[-3:])}")
        return json.loads(line)
