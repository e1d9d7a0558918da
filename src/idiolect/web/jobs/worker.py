"""The worker: a process beside the site that has its jobs done by another one, its hand.

``python -m idiolect.web.jobs.worker`` is started by ``idiolect play`` and ends with it, also when
that is killed: it reads a pipe that closes then. What a job is stands in ``jobs.py``, how the hand
is started, kept and stopped in ``hand.py``.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from importlib import import_module

from idiolect.web.jobs.process import JobProcess, serve_jobs, watch_stdin

_POLL_INTERVAL = 1.0
_CLEAN_UP_INTERVAL = 3600.0
IDLE_SECONDS = 300.0
"""Seconds for which an idle hand keeps its memory: a player who has their model asked about a round
plays the next one soon."""
NICE = 10
"""How much the worker yields to the site (nice): training waits for players, not they for it."""

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Work for ever, or be the hand of the worker that is named."""
    import django

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the site, which then ends this
    match arguments:
        case [worker]:
            django.setup()
            serve_jobs(lambda job: _run_job(job, worker))
        case _:
            watch_stdin(lambda line: None)
            django.setup()
            if hasattr(os, "nice"):
                os.nice(NICE)
            run_forever(f"{socket.gethostname()}:{os.getpid()}"[:80])


def _run_job(job: str, worker: str) -> None:
    from django.db import connections

    from idiolect.web.jobs import queue

    queue.run_job(uuid.UUID(job), worker)
    connections.close_all()  # the next job may be minutes away


def run_forever(worker: str) -> None:
    """Do one job after the other; a database that is away is waited for."""
    from django.db import DatabaseError, close_old_connections

    hand = JobProcess([sys.executable, "-m", "idiolect.web.jobs.worker", worker])
    tidied = -_CLEAN_UP_INTERVAL
    worked = time.monotonic()
    while True:
        close_old_connections()
        try:
            if time.monotonic() - tidied > _CLEAN_UP_INTERVAL:
                clean_up()
                tidied = time.monotonic()
            if run_next_job(worker, hand):
                worked = time.monotonic()
                continue
        except DatabaseError as error:
            _log.warning("the worker waits for the database: %s", error)
        if time.monotonic() - worked > IDLE_SECONDS:
            hand.terminate()
        time.sleep(_POLL_INTERVAL)


def run_next_job(worker: str, hand: JobProcess, *, poll: float = _POLL_INTERVAL) -> bool:
    """Have the next job done; False where there is none."""
    from django.db import DatabaseError

    from idiolect.web.jobs import queue

    job = queue.claim_job(worker)
    if job is None:
        return False
    _log.info("job %s (%s) begins", job.pk, job.kind)
    hand.submit(str(job.pk))
    while (end := hand.wait(poll)) is None:
        try:
            # One that is written down is about to be done; any other was taken from this worker.
            if not (queue.renew_lease(job.pk, worker) or queue.has_ended(job.pk, worker)):
                hand.kill()
        except DatabaseError as error:
            _log.warning("whether job %s is still wanted cannot be read: %s", job.pk, error)
    queue.requeue(job.pk, worker)  # nothing to put back where it came to an end
    _log.info("job %s (%s) is over: %s", job.pk, job.kind, end)
    return True


def clean_up() -> None:
    """Remove what has no use any more: sessions that ended, limits that limit nobody."""
    from django.conf import settings

    from idiolect.web import rate_limits

    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    rate_limits.delete_expired()


if __name__ == "__main__":
    main(sys.argv[1:])
