"""The job worker: a process that claims jobs and has a child process run them.

``idiolect play`` starts ``python -m idiolect.web.jobs.worker``. The worker ends with the site, also
if the site is killed, because its stdin then closes. ``queue.py`` defines jobs, and ``process.py``
the child process.
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

from idiolect.web.jobs.clock_watch import ClockWatch
from idiolect.web.jobs.process import JobProcess, serve_jobs, watch_stdin

_POLL_INTERVAL = 1.0
_CLEAN_UP_INTERVAL = 3600.0
IDLE_SECONDS = 300.0
"""Seconds for which an idle child keeps its loaded models: a player who asks their model about one
round often asks about the next one soon."""
NICE = 10
"""The worker's nice value: the site has priority over training."""

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Run the worker without arguments; with a worker's name, run the child that does its jobs."""
    import django

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the site, which stops the worker
    match arguments:
        case [worker]:
            django.setup()
            serve_jobs(lambda job: _run_job(job, worker))
        case _:
            watch_stdin(lambda line: None)  # only to notice that the site has ended
            django.setup()
            if hasattr(os, "nice"):
                os.nice(NICE)
            run_forever(f"{socket.gethostname()}:{os.getpid()}"[:80])


def _run_job(job: str, worker: str) -> None:
    """Run one job in the child process, and close its database connections."""
    from django.db import connections

    from idiolect.web.jobs import queue

    queue.run_job(uuid.UUID(job), worker)
    connections.close_all()  # the next job may be minutes away


def run_forever(worker: str) -> None:
    """Run jobs one after another as ``worker``; wait while the database does not answer."""
    from django.db import DatabaseError, close_old_connections

    process = JobProcess([sys.executable, "-m", "idiolect.web.jobs.worker", worker])
    last_clean_up = -_CLEAN_UP_INTERVAL
    last_job, watch = time.monotonic(), ClockWatch()
    while True:
        close_old_connections()
        try:
            if time.monotonic() - last_clean_up > _CLEAN_UP_INTERVAL:
                clean_up_if_settled(watch)
                last_clean_up = time.monotonic()
            if run_next_job(worker, process):
                last_job = time.monotonic()
                continue
        except DatabaseError as error:
            _log.warning("the worker waits for the database: %s", error)
        # No job: free the child's memory after a while, and poll again.
        if time.monotonic() - last_job > IDLE_SECONDS:
            process.terminate()
        time.sleep(_POLL_INTERVAL)


def run_next_job(worker: str, process: JobProcess, *, poll: float = _POLL_INTERVAL) -> bool:
    """Claim the next job and run it in ``process``; return False if there is none.

    Renews the lease every ``poll`` seconds, and kills the process if the job was cancelled.
    """
    from django.db import DatabaseError

    from idiolect.web.accounts import personal_data
    from idiolect.web.jobs import queue

    job = queue.claim_job(worker)
    if job is None:
        return False
    _log.info("job %s (%s) starts", job.pk, job.kind)
    process.submit(str(job.pk))
    while (outcome := process.wait(poll)) is None:
        try:
            # A job without a lease has either just finished, and the process will say so, or was
            # cancelled or claimed by another worker.
            if not (queue.renew_lease(job.pk, worker) or queue.has_ended(job.pk, worker)):
                process.kill()
        except DatabaseError as error:
            _log.warning("cannot check whether job %s was cancelled: %s", job.pk, error)
    queue.requeue(job.pk, worker)  # does nothing if the job finished
    # A job whose owner left was killed, perhaps while it wrote to a file.
    personal_data.remove_orphans()
    _log.info("job %s (%s) ended: %s", job.pk, job.kind, outcome)
    return True


def clean_up_if_settled(watch: ClockWatch) -> None:
    """Clean up, unless the clock was set within the last day."""
    if watch.is_settled():
        clean_up()


def clean_up() -> None:
    """Delete what no person can reach any more, in the database, in its files and in other files:
    expired sessions, guests without a session, unused rows of rate limits, files of deleted people.
    """
    from django.conf import settings

    from idiolect.web import rate_limits
    from idiolect.web.accounts import personal_data
    from idiolect.web.database import maintenance

    store = import_module(settings.SESSION_ENGINE).SessionStore
    store.clear_expired()
    store.shorten_too_long()
    rate_limits.delete_expired()
    if deleted := personal_data.delete_unreachable_guests():
        _log.info("deleted %d guests whose session has ended", deleted)
    personal_data.remove_orphans()
    maintenance.purge_deleted(max_bytes=None)


if __name__ == "__main__":
    main(sys.argv[1:])
