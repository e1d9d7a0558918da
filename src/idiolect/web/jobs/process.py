"""The process that does a worker's jobs: one after the other, and kept a while for the next one.

A process of its own can be stopped at any moment and gives all its memory back; one that has done a
job has loaded already what the next one needs. Knows processes and pipes; what a job is stands in
``jobs.py``.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, Literal

JobOutcome = Literal["done", "died"]


class JobProcess:
    """Does jobs by ``command``, which reads their names from stdin, a line each, and writes a line
    to stdout after each; it ends when stdin closes."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._child: subprocess.Popen[str] | None = None
        self._outcomes: queue.SimpleQueue[JobOutcome] = queue.SimpleQueue()

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, at work or waiting."""
        return self._child is not None and self._child.poll() is None

    def submit(self, job: str) -> None:
        """Have a job done, by the process that is there or by a new one."""
        if not self.is_alive:
            self._start_process()
        child = self._child
        assert child is not None and child.stdin is not None
        # One that died just now is noticed by whoever waits for the job.
        with contextlib.suppress(OSError):
            child.stdin.write(f"{job}\n")
            child.stdin.flush()

    def wait(self, timeout: float) -> JobOutcome | None:
        """How the job that was given ended; ``None`` where it is at work after so many seconds."""
        try:
            state = self._outcomes.get(timeout=timeout)
        except queue.Empty:
            return None
        if state == "died":
            self.terminate()
        return state

    def kill(self) -> None:
        """Stop the process wherever it is; the next job gets a new one."""
        if self._child is not None:
            self._child.kill()

    def terminate(self) -> None:
        """End the process: nothing is left for it to do."""
        child, self._child = self._child, None
        if child is not None:
            with child:
                child.kill()

    def _start_process(self) -> None:
        self.terminate()
        self._outcomes = queue.SimpleQueue()
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdout is not None
        listen = threading.Thread(
            target=_forward_outcomes,
            args=(self._child.stdout, self._outcomes),
            name="hand",
            daemon=True,
        )
        listen.start()


def _forward_outcomes(stdout: IO[str], told: queue.SimpleQueue[JobOutcome]) -> None:
    with contextlib.suppress(ValueError):  # closed by whoever let the process go
        for _ in stdout:
            told.put("done")
    told.put("died")


def serve_jobs(job: Callable[[str], None]) -> None:
    """The process's side: do the jobs that stdin names; ends the process when stdin closes, in the
    middle of a job, too, since whoever wanted it has gone."""
    told = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a job prints is no answer
    given: queue.SimpleQueue[str] = queue.SimpleQueue()
    watch_stdin(given.put)
    while True:
        job(given.get())
        os.write(told, b"\n")


def watch_stdin(take: Callable[[str], None]) -> None:
    """Pass on each line of stdin from now on, and end this process as soon as stdin closes."""

    def read_lines() -> None:
        # Not through sys.stdin: a process that ends by itself must not wait for its lock.
        rest = b""
        while some := os.read(sys.stdin.fileno(), 4096):
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                take(line.decode())
        os._exit(0)

    threading.Thread(target=read_lines, name="end with parent", daemon=True).start()
