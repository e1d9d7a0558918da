"""The worker: a process beside the site that does its jobs, each in a process of its own.

``python -m idiolect.server.worker`` is started by ``idiolect play`` and ends with it, also when
that is killed: it reads a pipe that closes then. A job in its own process can be stopped at any
moment and gives all its memory back. Knows processes; what a job is stands in ``jobs.py``.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from importlib import import_module

_POLL = 1.0
_HOUSEKEEPING = 3600.0
_KIND = 10
"""How much the worker yields to the site (nice): training waits for players, not they for it."""

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Work for ever, or do the one job that is named."""
    import django

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the site, which then ends this
    end_with_parent()
    django.setup()
    from idiolect.server import jobs

    match arguments:
        case [job, worker]:
            jobs.perform(uuid.UUID(job), worker)
        case _:
            if hasattr(os, "nice"):
                os.nice(_KIND)
            work_for_ever(f"{socket.gethostname()}:{os.getpid()}"[:80])


def end_with_parent() -> None:
    """End this process as soon as stdin closes: whoever started it has gone."""

    def watch() -> None:
        # Not through sys.stdin: a process that ends by itself must not wait for its lock.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def work_for_ever(worker: str) -> None:
    """Do one job after the other; a database that is away is waited for."""
    from django.db import DatabaseError, close_old_connections

    tidied = -_HOUSEKEEPING
    while True:
        close_old_connections()
        try:
            if time.monotonic() - tidied > _HOUSEKEEPING:
                tidy()
                tidied = time.monotonic()
            if work_once(worker):
                continue
        except DatabaseError as error:
            _log.warning("the worker waits for the database: %s", error)
        time.sleep(_POLL)


def work_once(worker: str, *, poll: float = _POLL) -> bool:
    """Do the next job, in a process of its own; False where there is none."""
    from idiolect.server import jobs

    job = jobs.claim(worker)
    if job is None:
        return False
    _log.info("job %s (%s) begins", job.pk, job.kind)
    command = [sys.executable, "-m", "idiolect.server.worker", str(job.pk), worker]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        while True:
            try:
                code = child.wait(timeout=poll)
                break
            except subprocess.TimeoutExpired:
                # A process whose job is written down is on its way out; any other has lost it.
                if not (jobs.still_mine(job.pk, worker) or jobs.has_ended(job.pk, worker)):
                    child.kill()
    jobs.put_back(job.pk, worker)  # nothing to put back where it came to an end
    _log.info("job %s (%s) is over, exit code %d", job.pk, job.kind, code)
    return True


def tidy() -> None:
    """Remove what has no use any more: sessions that ended, limits that limit nobody."""
    from django.conf import settings

    from idiolect.server import limits

    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    limits.forget_old()


if __name__ == "__main__":
    main(sys.argv[1:])
