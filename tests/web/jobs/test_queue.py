"""The job queue and its worker: one active job per owner, leases, retries, cancellation."""

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

from idiolect.errors import MissingError
from idiolect.events import Message, Progress
from idiolect.web.accounts.models import User
from idiolect.web.accounts.problems import UNEXPECTED, NotNowError
from idiolect.web.jobs import queue, worker
from idiolect.web.jobs.process import JobOutcome, JobProcess
from idiolect.web.models import Job

pytestmark = pytest.mark.django_db


def count_to_three(running: queue.JobContext, arguments: Mapping[str, Any]) -> Any:
    """Job function that counts, or fails as its arguments say."""
    running(Message(text="begins"))
    match arguments.get("do"):
        case "refuse":
            raise NotNowError("there are too few rounds: 3 of 20; play some more")
        case "miss":
            raise MissingError("cannot read /srv/site/own-models/ab12/store.json: no such file")
        case "fail":
            raise RuntimeError("a secret detail")
    for done in range(3):
        running(Progress(stage="counting", done=done, total=2))
    return {"counted": 3, "attempt": running.attempt}


@pytest.fixture(autouse=True)
def register_count_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of kind "count" are the only ones."""
    monkeypatch.setattr(queue, "_JOB_FUNCTIONS", {"count": count_to_three})


def claim_and_run(job: Job, by: str = "w1") -> Job:
    """Claim the next job, which must be ``job``, and run it."""
    claimed = queue.claim_job(by)
    assert claimed is not None and claimed.pk == job.pk
    queue.run_job(job.pk, by)
    job.refresh_from_db()
    return job


def test_run_job_saves_result(ann: Any) -> None:
    job = claim_and_run(queue.enqueue("count", owner=ann))
    assert (job.state, job.result) == (Job.State.DONE, {"counted": 3, "attempt": 1})
    assert (job.stage, job.percent, job.problem) == ("counting", 100, "")
    assert queue.claim_job("w1") is None


def test_enqueue_twice_returns_active_job(ann: Any, ben: Any) -> None:
    first = queue.enqueue("count", owner=ann)
    assert queue.enqueue("count", owner=ann) == first
    assert queue.enqueue("count", owner=ben) != first
    claim_and_run(first)
    again = queue.enqueue("count", owner=ann)
    assert again != first and queue.find_latest_job("count", ann) == again


def test_claim_job_takes_oldest_first(ann: Any, ben: Any) -> None:
    jobs = [queue.enqueue("count", owner=ann), queue.enqueue("count", owner=ben)]
    assert [queue.claim_job("w"), queue.claim_job("w")] == jobs


def test_run_job_saves_message_for_players(ann: Any) -> None:
    job = claim_and_run(queue.enqueue("count", owner=ann, arguments={"do": "refuse"}))
    assert job.state == Job.State.FAILED
    assert job.problem == "there are too few rounds: 3 of 20; play some more"


@pytest.mark.finding("server-paths")
def test_run_job_logs_paths_without_showing_them(ann: Any, caplog: Any) -> None:
    job = claim_and_run(queue.enqueue("count", owner=ann, arguments={"do": "miss"}))
    assert (job.state, job.problem) == (Job.State.FAILED, UNEXPECTED)
    assert "/srv/site/own-models" in caplog.text


def test_run_job_logs_unexpected_error_without_showing_it(ann: Any, caplog: Any) -> None:
    job = claim_and_run(queue.enqueue("count", owner=ann, arguments={"do": "fail"}))
    assert job.state == Job.State.FAILED
    assert "a secret detail" not in job.problem
    assert "a secret detail" in caplog.text


def expire_lease(job: Job) -> None:
    """Make the job look as if its worker had died."""
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_claim_job_takes_job_of_dead_worker(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    assert queue.claim_job("dead") == job
    assert queue.claim_job("w2") is None
    expire_lease(job)
    assert claim_and_run(job, by="w2").result == {"counted": 3, "attempt": 2}


@pytest.mark.finding("clock-set-back")
def test_claim_job_takes_job_of_dead_worker_after_clock_is_set_back(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("dead")
    assert queue.claim_job("w2") is None
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() + timedelta(days=300))
    assert claim_and_run(job, by="w2").state == Job.State.DONE


@pytest.mark.finding("clock-set-back")
def test_find_latest_job_returns_newest_after_clock_is_set_back(ann: Any) -> None:
    earlier = claim_and_run(queue.enqueue("count", owner=ann))
    Job.objects.filter(pk=earlier.pk).update(made_at=timezone.now() + timedelta(days=300))
    newer = queue.enqueue("count", owner=ann)
    assert queue.find_latest_job("count", ann) == newer


def test_worker_that_lost_its_lease_changes_nothing(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("slow")
    assert queue.renew_lease(job.pk, "slow")
    expire_lease(job)
    queue.claim_job("w2")
    assert not queue.renew_lease(job.pk, "slow")
    queue.run_job(job.pk, "slow")
    queue.requeue(job.pk, "slow")
    job.refresh_from_db()
    assert (job.state, job.worker, job.result) == (Job.State.RUNNING, "w2", None)


def test_renew_lease_keeps_job(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("w1")
    expire_lease(job)
    assert queue.renew_lease(job.pk, "w1")
    assert queue.claim_job("w2") is None


def test_claim_job_fails_job_after_max_attempts(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    for attempt in range(queue.MAX_ATTEMPTS):
        assert queue.claim_job(f"w{attempt}") == job
        expire_lease(job)
    assert queue.claim_job("w9") is None
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "3 times" in job.problem


def test_cancel_job_stops_waiting_and_running_jobs(ann: Any, ben: Any) -> None:
    waiting, working = queue.enqueue("count", owner=ann), queue.enqueue("count", owner=ben)
    queue.cancel_job(waiting)
    assert queue.claim_job("w1") == working
    queue.cancel_job(working)
    assert not queue.renew_lease(working.pk, "w1")
    queue.run_job(working.pk, "w1")
    working.refresh_from_db()
    assert (working.state, working.result) == (Job.State.CANCELLED, None)


def test_deleting_owner_deletes_jobs(ann: Any) -> None:
    job = queue.enqueue("count", owner=ann)
    queue.claim_job("w1")
    ann.delete()
    assert not queue.renew_lease(job.pk, "w1")
    queue.run_job(job.pk, "w1")
    assert not Job.objects.exists()


def test_job_context_writes_progress_twice_per_second_at_most(ann: Any, monkeypatch: Any) -> None:
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
def test_claim_job_gives_each_job_to_one_of_several_workers(ann: Any, ben: Any) -> None:
    jobs = {queue.enqueue("count", owner=owner).pk for owner in (ann, ben)}
    found: list[uuid.UUID] = []
    starting = threading.Barrier(4)

    def claim_one(name: str) -> None:
        starting.wait()
        if (job := queue.claim_job(name)) is not None:
            found.append(job.pk)
        connection.close()

    threads = [threading.Thread(target=claim_one, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and set(found) == jobs


class FakeProcess:
    """A job process whose job ends after a number of waits, or when it is killed."""

    def __init__(self, waits_left: int, outcome: JobOutcome = "done") -> None:
        self.waits_left, self.killed = waits_left, False
        self.outcome: JobOutcome = outcome
        self.submitted: list[str] = []

    def submit(self, job: str) -> None:
        self.submitted.append(job)

    def wait(self, timeout: float) -> JobOutcome | None:
        self.waits_left -= 1
        return None if self.waits_left >= 0 and not self.killed else self.outcome

    def kill(self) -> None:
        self.killed, self.outcome = True, "died"


def test_run_next_job_requeues_job_if_process_dies(ann: Any) -> None:
    process = FakeProcess(2, "died")
    job = queue.enqueue("count", owner=ann)
    assert worker.run_next_job("w1", cast(JobProcess, process))
    assert process.submitted == [str(job.pk)]
    job.refresh_from_db()
    assert (job.state, job.attempts) == (Job.State.QUEUED, 1)


def test_run_next_job_kills_process_if_lease_is_lost(ann: Any, monkeypatch: Any) -> None:
    process = FakeProcess(50)
    job = queue.enqueue("count", owner=ann)
    monkeypatch.setattr(queue, "renew_lease", lambda job, worker: process.waits_left > 45)
    assert worker.run_next_job("w1", cast(JobProcess, process))
    assert process.killed and job.pk


def test_run_next_job_does_not_kill_process_after_job_ended(ann: Any, monkeypatch: Any) -> None:
    process = FakeProcess(5)
    job = queue.enqueue("count", owner=ann)
    renew_lease = queue.renew_lease

    def run_then_renew(job: uuid.UUID, by: str) -> bool:
        # The job ends in the database, but the process reports it only three waits later.
        if process.waits_left == 3:
            queue.run_job(job, by)
        return renew_lease(job, by)

    monkeypatch.setattr(queue, "renew_lease", run_then_renew)
    assert worker.run_next_job("w1", cast(JobProcess, process))
    job.refresh_from_db()
    assert job.state == Job.State.DONE and not process.killed


def test_run_next_job_survives_database_errors(ann: Any, monkeypatch: Any) -> None:
    process = FakeProcess(3)
    queue.enqueue("count", owner=ann)

    def fail_to_renew(job: uuid.UUID, by: str) -> bool:
        raise OperationalError("database is locked")

    monkeypatch.setattr(queue, "renew_lease", fail_to_renew)
    assert worker.run_next_job("w1", cast(JobProcess, process))
    assert not process.killed and process.waits_left == -1


def test_clean_up_deletes_expired_sessions() -> None:
    from idiolect.web.models import Session
    from idiolect.web.sessions import SessionStore

    for days in (-1, 1):
        session = SessionStore()
        session.set_expiry(timezone.now() + timedelta(days=days))
        session.save()
    worker.clean_up()
    assert Session.objects.count() == 1


@pytest.mark.finding("clock-set-back")
def test_clean_up_shortens_sessions_from_a_wrong_clock(site: Any, ann: Any) -> None:
    from idiolect.web.models import Session

    site.force_login(ann)
    Session.objects.update(expire_date=timezone.now() + timedelta(days=9000))
    worker.clean_up()
    assert Session.objects.get().expire_date <= timezone.now() + timedelta(days=90)
    assert site.get("/account/").status_code == 200


@pytest.mark.finding("clock-set-back")
def test_clean_up_deletes_guests_from_a_wrong_clock(db: None) -> None:
    lost, new = (User.objects.create_guest() for _ in range(2))
    User.objects.filter(pk=lost.pk).update(joined=timezone.now() + timedelta(days=300))
    worker.clean_up()
    assert [*User.objects.all()] == [new]
