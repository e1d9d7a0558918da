"""The child process that runs the worker's jobs, one after another.

A separate process can be killed at any time and frees all its memory when it ends. It is reused for
the next job, since it has already loaded the models. This module handles processes and pipes; jobs
are defined in ``queue.py``.
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
"""How a job ended for the process: it returned, or the process died. Not whether it succeeded."""


class JobProcess:
    """The parent's side: starts the child process, submits jobs and waits for them."""

    def __init__(self, command: Sequence[str]) -> None:
        """Take the command of the child.

        The child reads job names from stdin, one per line, writes one line to stdout after each
        job, and exits when stdin closes (see ``serve_jobs``).
        """
        self._command = tuple(command)
        self._child: subprocess.Popen[str] | None = None
        self._outcomes: queue.SimpleQueue[JobOutcome] = queue.SimpleQueue()

    @property
    def is_alive(self) -> bool:
        """Whether the child process runs, with or without a job."""
        return self._child is not None and self._child.poll() is None

    def submit(self, job: str) -> None:
        """Give a job to the running child, or to a new one if none runs."""
        if not self.is_alive:
            self._start_process()
        child = self._child
        assert child is not None and child.stdin is not None
        # If the child has just died, ``wait`` reports it.
        with contextlib.suppress(OSError):
            child.stdin.write(f"{job}\n")
            child.stdin.flush()

    def wait(self, timeout: float) -> JobOutcome | None:
        """Return how the submitted job ended; None if it still runs after ``timeout`` seconds."""
        try:
            state = self._outcomes.get(timeout=timeout)
        except queue.Empty:
            return None
        if state == "died":
            self.terminate()
        return state

    def kill(self) -> None:
        """Kill the child, also in the middle of a job; ``wait`` then returns "died"."""
        if self._child is not None:
            self._child.kill()

    def terminate(self) -> None:
        """Kill the child and release its pipes; the next job starts a new one."""
        child, self._child = self._child, None
        if child is not None:
            with child:
                child.kill()

    def _start_process(self) -> None:
        self.terminate()
        # A new queue, since the reader of the old child may still report its death.
        self._outcomes = queue.SimpleQueue()
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdout is not None
        reader = threading.Thread(
            target=_forward_outcomes,
            args=(self._child.stdout, self._outcomes),
            name="job outcomes",
            daemon=True,
        )
        reader.start()


def _forward_outcomes(stdout: IO[str], outcomes: queue.SimpleQueue[JobOutcome]) -> None:
    """Put "done" for each line that the child writes, and "died" when its stdout ends."""
    with contextlib.suppress(ValueError):  # ``terminate`` has closed the pipe
        for _ in stdout:
            outcomes.put("done")
    outcomes.put("died")


def serve_jobs(job: Callable[[str], None]) -> None:
    """The child's side: run ``job`` with each name from stdin; never returns.

    Exits the process when stdin closes, also in the middle of a job: the parent has ended.
    """
    # Jobs may print: send that to stderr, and keep the real stdout for the parent.
    outcomes = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    watch_stdin(names.put)
    while True:
        job(names.get())
        os.write(outcomes, b"\n")


def watch_stdin(take: Callable[[str], None]) -> None:
    """Call ``take`` with each line of stdin in a thread; exit the process when stdin closes."""

    def read_lines() -> None:
        # Bypass sys.stdin: a process that exits by itself must not wait for its lock.
        rest = b""
        while some := os.read(sys.stdin.fileno(), 4096):
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                take(line.decode())
        os._exit(0)

    threading.Thread(target=read_lines, name="exit with parent", daemon=True).start()
