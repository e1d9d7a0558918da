"""The site as a subprocess, started with `idiolect play`, that can be killed and restarted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Self

import psutil

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")


class SiteProcess:
    """A site with its data in ``folder``, on a local port."""

    def __init__(self, folder: Path, *, port: int = 0, workers: int = 1) -> None:
        self.folder, self._port, self._workers = folder, port, workers
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the site and wait until it listens; later starts use the same port."""
        command = [sys.executable, "-m", "idiolect", "play", "--no-browser"]
        command += ["--port", str(self._port), "--workers", str(self._workers)]
        # The environment must not point the site to other settings or data.
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DJANGO_SETTINGS_MODULE", "IDIOLECT_HOME", "IDIOLECT_HOSTS")
        }
        # A session of its own, so that `stop` reaches all workers.
        self._process = subprocess.Popen(
            [*command, "--data", str(self.folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=kept | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://\S+:(\d+)", line):
                self.address, self._port = found[0], int(found[1])
                return
        raise SystemExit("the site did not start; see its errors above")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the site and its workers, and wait for the site to exit."""
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait()
            self._process = None

    def measure_cpu_seconds(self) -> float:
        """CPU seconds of the site and its workers so far."""
        if self._process is None:
            return 0.0
        site = psutil.Process(self._process.pid)
        used = [one.cpu_times() for one in (site, *site.children(recursive=True))]
        return sum(one.user + one.system for one in used)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
