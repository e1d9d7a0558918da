"""Work that outlives a request: asked for by a page, done by the worker, kept in the database.

A job is claimed for a while, and whoever works on it says again and again that they still do; what
a killed worker leaves is taken up by the next one. Work must therefore bear being begun twice.
Knows rows and clocks; processes are ``worker.py``'s, and what is done is the apps'.
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

from idiolect.errors import IdiolectError
from idiolect.events import Event, Progress
from idiolect.web.accounts.models import User
from idiolect.web.models import Job

State = Job.State
LEASE = timedelta(seconds=20)
"""A worker that has not said for so long that it works is taken for dead."""
MAX_ATTEMPTS = 3
"""How often a job is begun: one that kills its worker would kill the next one too."""
PROGRESS_INTERVAL = 0.5
"""Seconds between two writings of progress."""

_log = logging.getLogger(__name__)

JobFunction = Callable[["JobContext", Mapping[str, Any]], Any]
"""Does a job: takes its listener and its arguments, returns its result, as JSON takes both."""

_JOB_FUNCTIONS: dict[str, JobFunction] = {}


def register_job_kind(kind: str, work: JobFunction) -> None:
    """Jobs of ``kind`` are done by ``work``, a function; say so in ``AppConfig.ready``."""
    assert _JOB_FUNCTIONS.get(kind, work) is work, f"two functions do {kind!r}"
    _JOB_FUNCTIONS[kind] = work


def enqueue(kind: str, *, owner: User, arguments: Mapping[str, Any] | None = None) -> Job:
    """Ask for a job; where the owner's last one of that kind is not over, it is that one."""
    assert kind in _JOB_FUNCTIONS, f"nobody does {kind!r}"
    try:
        with transaction.atomic():
            return Job.objects.create(kind=kind, owner=owner, arguments=dict(arguments or {}))
    except IntegrityError:
        found = find_latest_job(kind, owner)
        if found is None or not found.is_active:
            raise  # the owner has gone
        return found


def find_latest_job(kind: str, owner: User) -> Job | None:
    """The owner's newest job of that kind."""
    return Job.objects.filter(kind=kind, owner=owner).order_by("-made_at").first()


def cancel_job(job: Job) -> None:
    """Stop a job that is not over; its worker notices within seconds."""
    active = Job.objects.filter(pk=job.pk, state__in=[State.QUEUED, State.RUNNING])
    active.update(state=State.CANCELLED, ended_at=timezone.now())


@dataclass(kw_only=True)
class JobContext:
    """A job in work, for the one who works: a listener that writes progress where pages see it."""

    id: uuid.UUID
    worker: str
    owner: int | None
    attempt: int
    _last_write: float = field(default=0.0, init=False)

    def __call__(self, event: Event, /) -> None:
        """Take an event; of more than two a second the pages see two."""
        if not isinstance(event, Progress):
            return
        over = event.done >= event.total
        if not over and time.monotonic() - self._last_write < PROGRESS_INTERVAL:
            return
        self._last_write = time.monotonic()
        share = event.done / event.total if event.total else 0.0
        try:
            _query_claimed(self.id, self.worker).update(stage=event.stage[:80], share=share)
        except DatabaseError:
            _log.warning("progress of job %s could not be written", self.id)


def claim_job(worker: str) -> Job | None:
    """The oldest job that nobody works on, now ``worker``'s; ``None`` where there is none."""
    while True:
        now = timezone.now()
        free = Q(state=State.QUEUED) | Q(state=State.RUNNING, lease_until__lt=now)
        found = Job.objects.filter(free).order_by("made_at").first()
        if found is None:
            return None
        # As it was found: another worker may have been quicker.
        same = Job.objects.filter(free, pk=found.pk, attempts=found.attempts)
        if found.attempts >= MAX_ATTEMPTS:
            problem = f"It was stopped {MAX_ATTEMPTS} times, by a lack of memory perhaps."
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
        if taken:
            found.refresh_from_db()
            return found


def renew_lease(job: uuid.UUID, worker: str) -> bool:
    """Say that ``worker`` is alive; False where the job is not theirs any more, or not at all."""
    return _query_claimed(job, worker).update(lease_until=timezone.now() + LEASE) == 1


def has_ended(job: uuid.UUID, worker: str) -> bool:
    """Whether ``worker`` brought the job to its end, good or bad."""
    ends = [State.DONE, State.FAILED]
    return Job.objects.filter(pk=job, worker=worker, state__in=ends).exists()


def requeue(job: uuid.UUID, worker: str) -> None:
    """Let go of a job that was not finished; it is the next one's."""
    _query_claimed(job, worker).update(state=State.QUEUED, lease_until=None)


def run_job(job: uuid.UUID, worker: str) -> None:
    """Do a job that ``worker`` has claimed, and write down how it ended."""
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
    except IdiolectError as error:
        end = {"state": State.FAILED, "problem": str(error)}
    except Exception:
        _log.exception("job %s (%s) failed", job, row.kind)
        end = {"state": State.FAILED, "problem": "Something unexpected; the site's log has it."}
    _query_claimed(job, worker).update(**end, ended_at=timezone.now(), lease_until=None)


def _query_claimed(job: uuid.UUID, worker: str) -> Any:
    return Job.objects.filter(pk=job, worker=worker, state=State.RUNNING)
