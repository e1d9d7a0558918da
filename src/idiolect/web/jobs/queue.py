"""The job queue in the database: a page enqueues a job, and a worker claims and runs it.

A worker claims a job with a lease and renews it while it works. If a worker is killed, the lease
expires and another worker claims the job, so a job function must be safe to run twice. This module
handles the table, ``worker.py`` handles processes, and apps register the functions of their jobs.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from idiolect.events import Event, Progress
from idiolect.web.accounts.models import User
from idiolect.web.accounts.problems import UNEXPECTED, PlayerError
from idiolect.web.models import Job

State = Job.State
LEASE = timedelta(seconds=20)
"""A worker that has not renewed its lease for this time counts as dead."""
LONGEST_LEASE = timedelta(hours=1)
"""Longer than any lease: a job of a dead worker waits at most so long if the clock is set back."""
MAX_ATTEMPTS = 3
"""How often a job is started: a job that kills its worker would kill the next one too."""
PROGRESS_INTERVAL = 0.5
"""Minimum seconds between two writes of progress."""

_log = logging.getLogger(__name__)

JobFunction = Callable[["JobContext", Mapping[str, Any]], Any]
"""Runs a job: takes its context, which is also its event listener, and its arguments; returns its
result. Arguments and result are JSON values."""

_JOB_FUNCTIONS: dict[str, JobFunction] = {}
"""The job function of each kind of job."""


def register_job_kind(kind: str, work: JobFunction) -> None:
    """Run jobs of ``kind`` with the function ``work``; call this in ``AppConfig.ready``."""
    assert _JOB_FUNCTIONS.get(kind, work) is work, f"two functions for jobs of kind {kind!r}"
    _JOB_FUNCTIONS[kind] = work


def enqueue(kind: str, *, owner: User, arguments: Mapping[str, Any] | None = None) -> Job:
    """Add a job and return it; return the owner's active job of that kind if there is one."""
    assert kind in _JOB_FUNCTIONS, f"no function for jobs of kind {kind!r}"
    # The newest job stays the newest also if the clock was set back.
    made_at, latest = timezone.now(), find_latest_job(kind, owner)
    if latest is not None:
        made_at = max(made_at, latest.made_at + timedelta(microseconds=1))
    try:
        with transaction.atomic():
            return Job.objects.create(
                kind=kind, owner=owner, arguments=dict(arguments or {}), made_at=made_at
            )
    except IntegrityError:  # the constraint on active jobs, or the owner
        found = find_latest_job(kind, owner)
        if found is None or not found.is_active:
            raise  # the owner has been deleted
        return found


def find_latest_job(kind: str, owner: User) -> Job | None:
    """Return the owner's newest job of that kind; None if there is none."""
    return Job.objects.filter(kind=kind, owner=owner).order_by("-made_at").first()


def cancel_job(job: Job) -> None:
    """Cancel a job that waits or runs; its worker stops it within seconds."""
    active = Job.objects.filter(pk=job.pk, state__in=[State.QUEUED, State.RUNNING])
    active.update(state=State.CANCELLED, ended_at=timezone.now())


@dataclass(kw_only=True)
class JobContext:
    """A running job, as its function sees it: an event listener that writes progress to the job."""

    id: uuid.UUID
    worker: str
    """Name of the worker that runs the job."""
    owner: int | None
    """Primary key of the owner."""
    attempt: int
    """1 for the first attempt."""
    _last_write: float = field(default=0.0, init=False)

    def lock_claim(self) -> bool:
        """Return whether the worker still owns the job; call it in a transaction.

        Until the end of the transaction, the job cannot be cancelled or deleted. So what the
        transaction writes is seen by the code that cancels the job.
        """
        return _query_claimed(self.id, self.worker).select_for_update().first() is not None

    def __call__(self, event: Event, /) -> None:
        """Write a Progress event to the job, at most one per PROGRESS_INTERVAL; ignore others."""
        if not isinstance(event, Progress):
            return
        # The last event of a stage is always written.
        over = event.done >= event.total
        if not over and time.monotonic() - self._last_write < PROGRESS_INTERVAL:
            return
        self._last_write = time.monotonic()
        share = event.done / event.total if event.total else 0.0
        try:
            _query_claimed(self.id, self.worker).update(stage=event.stage[:80], share=share)
        except DatabaseError:
            # Progress is not worth failing the job.
            _log.warning("cannot write the progress of job %s", self.id)


def claim_job(worker: str) -> Job | None:
    """Claim the oldest free job for ``worker`` and return it; None if there is none.

    A job is free if it is queued or its worker's lease has expired.
    """
    while True:
        now = timezone.now()
        # A lease for longer than that is from before the clock was set back.
        expired = Q(lease_until__lt=now) | Q(lease_until__gt=now + LONGEST_LEASE)
        free = Q(state=State.QUEUED) | Q(expired, state=State.RUNNING)
        found = Job.objects.filter(free).order_by("made_at").first()
        if found is None:
            return None
        # Optimistic locking: the update changes nothing if another worker claimed the job in the
        # meantime, since each claim increments ``attempts``.
        same = Job.objects.filter(free, pk=found.pk, attempts=found.attempts)
        if found.attempts >= MAX_ATTEMPTS:
            problem = f"The job was stopped {MAX_ATTEMPTS} times, perhaps because memory ran out."
            same.update(state=State.FAILED, problem=problem, ended_at=now)
            continue
        taken = same.update(
            state=State.RUNNING,
            worker=worker,
            attempts=F("attempts") + 1,
            started_at=now,
            lease_until=now + LEASE,
            stage="",
            share=0.0,
        )
        # Otherwise another worker was faster: look for the next job.
        if taken:
            found.refresh_from_db()
            return found


def renew_lease(job: uuid.UUID, worker: str) -> bool:
    """Extend the lease of ``worker``; return False if it no longer owns the job.

    This happens if the job was cancelled, deleted, finished, or claimed by another worker.
    """
    return _query_claimed(job, worker).update(lease_until=timezone.now() + LEASE) == 1


def has_ended(job: uuid.UUID, worker: str) -> bool:
    """Return whether ``worker`` finished the job, with success or failure."""
    ends = [State.DONE, State.FAILED]
    return Job.objects.filter(pk=job, worker=worker, state__in=ends).exists()


def requeue(job: uuid.UUID, worker: str) -> None:
    """Return an unfinished job of ``worker`` to the queue."""
    _query_claimed(job, worker).update(state=State.QUEUED, lease_until=None)


def run_job(job: uuid.UUID, worker: str) -> None:
    """Run a job that ``worker`` has claimed, and save its result or problem.

    Does nothing if the worker no longer owns the job. Never raises because of the job.
    """
    row = _query_claimed(job, worker).first()
    if row is None:
        return
    running = JobContext(id=job, worker=worker, owner=row.owner_id, attempt=row.attempts)
    end: dict[str, Any]
    try:
        end = {
            "state": State.DONE,
            "result": _JOB_FUNCTIONS[row.kind](running, row.arguments),
            "share": 1.0,
        }
    except PlayerError as error:  # written for the owner: show it
        end = {"state": State.FAILED, "problem": str(error)}
    except Exception:  # may contain paths and private details: only log it
        _log.exception("job %s (%s) failed", job, row.kind)
        end = {
            "state": State.FAILED,
            "problem": UNEXPECTED,
        }
    # Changes nothing if the job was cancelled or claimed by another worker meanwhile.
    _query_claimed(job, worker).update(**end, ended_at=timezone.now(), lease_until=None)


def _query_claimed(job: uuid.UUID, worker: str) -> Any:
    """Return a query set with the job if ``worker`` still owns it, else empty."""
    return Job.objects.filter(pk=job, worker=worker, state=State.RUNNING)
