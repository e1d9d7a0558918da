"""The site in its own process, as `idiolect play` starts it, for tests with a browser."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import which
from typing import IO

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")


@contextmanager
def serve_site(
    folder: Path, *, variables: Mapping[str, str] | None = None, log: IO[str] | None = None
) -> Iterator[str]:
    """Serves a site with its data in ``folder``; yields its address.

    ``variables`` are added to its environment, and ``log`` receives what it writes to stderr.
    """
    command = [sys.executable, "-m", "idiolect", "play", "--port", "0", "--no-browser"]
    # The site must not use the settings of the tests' own Django.
    settings = ("DJANGO_SETTINGS_MODULE", "IDIOLECT_HOME", "IDIOLECT_HOSTS", "DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    with subprocess.Popen(
        [*command, "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"} | dict(variables or {}),
    ) as process:
        try:
            # The command prints its address as soon as it listens.
            assert process.stdout is not None
            found = None
            while found is None and (line := process.stdout.readline()):
                found = re.search(r"http://\S+", line)
            assert found is not None, "the site did not start"
            yield found[0].rstrip("/")
        finally:
            process.terminate()
            process.wait(timeout=30)


def repeat_word(folder: Path) -> None:
    """Gives the open round that started last the word of the round that ended last.

    Players get random words, so two players rarely get the same word by themselves.
    """
    ended, started = (
        f"SELECT {what} FROM game_round WHERE state = '{state}' ORDER BY {when} DESC LIMIT 1"
        for what, state, when in [("word_id", "finished", "ended_at"), ("id", "open", "started_at")]
    )
    with closing(sqlite3.connect(folder / "site.sqlite3", timeout=20)) as database, database:
        database.execute(f"UPDATE game_round SET word_id = ({ended}) WHERE id = ({started})")
