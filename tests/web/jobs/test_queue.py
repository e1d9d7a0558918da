"""Background jobs: asked for once, done once, taken up after a kill, stopped when not wanted."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from idiolect.errors import UsageError
from idiolect.events import Note, Progress
from idiolect.web.jobs import queue, worker
from idiolect.web.jobs.process import JobOutcome, JobProcess
from idiolect.web.models import Job

pytestmark = pytest.mark.django_db


def count(running: queue.JobContext, arguments: Mapping[str, Any]) -> Any:
    """Does what its arguments say."""
    running(Note(text="begins"))
    match arguments.get("do"):
        case "refuse":
            raise UsageError("there are too few rounds: 3 of 20; play some more")
        case "fail":
            raise RuntimeError("a secret detail")
    for done in range(3):
        running(Progress(stage="counting", done=done, total=2))
    return {"counted": 3, "attempt": running.attempt}


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_JOB_FUNCTIONS", {"count": count})


def done(job: Job, by: str = "w1") -> Job:
    """Claim the next job and do it."""
    claimed = queue.claim_job(by)
    assert claimed is not None and claimed.pk == job.pk
    queue.run_job(job.pk, by)
    job.refresh_from_db()
    return job


def test_a_job_is_done(ann: Any) -> None:
    job = done(queue.enqueue("count", owner=ann))
    assert (job.state, job.result) == (Job.State.DONE, {"counted": 3, "attempt": 1})
    assert (job.stage, job.percent, job.problem) == ("counting", 100, "")
    assert queue.claim_job("w1") is None


def test_asking_twice_is_one_job(ann: Any, ben: Any) -> None:
    first = queue.enqueue("count", owner=ann)
    assert queue.enqueue("count", owner=ann) == first
    assert queue.enqueue("count", owner=ben) != first
    done(first)
    again = queue.enqueue("count", owner=ann)
    assert again != first and queue.find_latest_job("count", ann) == again


def test_the_oldest_first(ann: Any, ben: Any) -> None:
    wanted = [queue.enqueue("count", owner=ann), queue.enqueue("count", owner=ben)]
    assert [queue.claim_job("w"), queue.claim_job("w")] == wanted


def test_what_cannot_be_done_says_why(ann: Any) -> None:
    job = done(queue.enqueue("count", owner=ann, arguments={"do": "refuse"}))
    assert job.state == Job.State.FAILED
    assert job.problem == "there are too few rounds: 3 of 20; play some more"


def test_what_was_not_expected_is_for_the_log(ann: Any, caplog: Any) -> None:
    job = done(queue.enqueue("count", owner=ann, arguments={"do": "fail"}))
    assert job.state == Job.State.FAILED
    assert "a secret detail" not in job.problem
    assert "a secret detail" in caplog.text


def expire(job: Job) -> None:
    """Let its worker be silent for too long."""
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_what_a_dead_worker_leaves_is_taken_up(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    assert queue.claim_job("dead") == job
    assert queue.claim_job("w2") is None
    expire(job)
    assert done(job, by="w2").result == {"counted": 3, "attempt": 2}


def test_a_worker_that_was_given_up_changes_nothing(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("slow")
    assert queue.renew_lease(job.pk, "slow")
    expire(job)
    queue.claim_job("w2")
    assert not queue.renew_lease(job.pk, "slow")
    queue.run_job(job.pk, "slow")
    queue.requeue(job.pk, "slow")
    job.refresh_from_db()
    assert (job.state, job.worker, job.result) == (Job.State.RUNNING, "w2", None)


def test_saying_that_one_works_keeps_the_job(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("w1")
    expire(job)
    assert queue.renew_lease(job.pk, "w1")
    assert queue.claim_job("w2") is None


def test_a_job_that_kills_its_workers_is_given_up(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    for attempt in range(queue.MAX_ATTEMPTS):
        assert queue.claim_job(f"w{attempt}") == job
        expire(job)
    assert queue.claim_job("w9") is None
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "3 times" in job.problem


def test_cancelling(ann: Any, ben: Any) -> None:
    waiting, working = queue.enqueue("count", owner=ann), queue.enqueue("count", owner=ben)
    queue.cancel_job(waiting)
    assert queue.claim_job("w1") == working
    queue.cancel_job(working)
    assert not queue.renew_lease(working.pk, "w1")
    queue.run_job(working.pk, "w1")
    working.refresh_from_db()
    assert (working.state, working.result) == (Job.State.CANCELLED, None)


def test_who_leaves_takes_their_jobs_along(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("w1")
    ann.delete()
    assert not queue.renew_lease(job.pk, "w1")
    queue.run_job(job.pk, "w1")
    assert not Job.objects.exists()


def test_progress_is_written_at_most_twice_a_second(ann: Any, monkeypatch: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("w1")
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    running = queue.JobContext(id=job.pk, worker="w1", owner=ann.pk, attempt=1)
    seen: list[float] = []
    for moment, step in [(100.0, 1), (100.2, 2), (100.6, 3), (100.7, 10)]:
        clock[0] = moment
        running(Progress(stage="training", done=step, total=10))
        job.refresh_from_db()
        seen.append(job.share)
    assert seen == [0.1, 0.1, 0.3, 1.0]


@pytest.mark.django_db(transaction=True)
def test_workers_share_the_queue(ann: Any, ben: Any) -> None:
    wanted = {queue.enqueue("count", owner=owner).pk for owner in (ann, ben)}
    found: list[uuid.UUID] = []
    starting = threading.Barrier(4)

    def work(name: str) -> None:
        starting.wait()
        if (job := queue.claim_job(name)) is not None:
            found.append(job.pk)
        connection.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and set(found) == wanted


class Looked:
    """A hand that ends its job after some looks at it, or when it is killed."""

    def __init__(self, looks: int, end: JobOutcome = "done") -> None:
        self.looks, self.killed = looks, False
        self.end: JobOutcome = end
        self.given: list[str] = []

    def submit(self, job: str) -> None:
        self.given.append(job)

    def wait(self, timeout: float) -> JobOutcome | None:
        self.looks -= 1
        return None if self.looks >= 0 and not self.killed else self.end

    def kill(self) -> None:
        self.killed, self.end = True, "died"


def test_a_hand_that_dies_puts_the_job_back(ann: Any) -> None:
    hand = Looked(2, "died")
    job = queue.enqueue("count", owner=ann)
    assert worker.run_next_job("w1", cast(JobProcess, hand))
    assert hand.given == [str(job.pk)]
    job.refresh_from_db()
    assert (job.state, job.attempts) == (Job.State.QUEUED, 1)


def test_the_hand_of_a_cancelled_job_is_killed(ann: Any, monkeypatch: Any) -> None:
    hand = Looked(50)
    job = queue.enqueue("count", owner=ann)
    monkeypatch.setattr(queue, "renew_lease", lambda job, worker: hand.looks > 45)
    assert worker.run_next_job("w1", cast(JobProcess, hand))
    assert hand.killed and job.pk


def test_a_hand_that_is_slow_to_end_is_left_to_it(ann: Any, monkeypatch: Any) -> None:
    hand = Looked(5)
    job = queue.enqueue("count", owner=ann)
    told = queue.renew_lease

    def work(job: uuid.UUID, by: str) -> bool:
        if hand.looks == 3:
            queue.run_job(job, by)
        return told(job, by)

    monkeypatch.setattr(queue, "renew_lease", work)
    assert worker.run_next_job("w1", cast(JobProcess, hand))
    job.refresh_from_db()
    assert job.state == Job.State.DONE and not hand.killed


def test_a_database_that_is_away_for_a_moment_stops_no_job(ann: Any, monkeypatch: Any) -> None:
    hand = Looked(3)
    queue.enqueue("count", owner=ann)

    def away(job: uuid.UUID, by: str) -> bool:
        raise OperationalError("database is locked")

    monkeypatch.setattr(queue, "renew_lease", away)
    assert worker.run_next_job("w1", cast(JobProcess, hand))
    assert not hand.killed and hand.looks == -1


def test_tidying_removes_ended_sessions() -> None:
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session

    for days in (-1, 1):
        session = SessionStore()
        session.set_expiry(timezone.now() + timedelta(days=days))
        session.save()
    worker.clean_up()
    assert Session.objects.count() == 1
