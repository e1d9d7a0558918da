"""The job process: reused for the next job, replaced when it dies, ended with its parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from idiolect.web.jobs.process import JobOutcome, JobProcess

CODE = """
import os, sys, time
from idiolect.web.jobs.process import serve_jobs

def job(name):
    print(name, os.getpid())
    match name.split(":"):
        case ["write", path]:
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\\n")
        case ["die"]:
            os._exit(3)
        case ["sleep"]:
            time.sleep(600)

serve_jobs(job)
"""
COMMAND = [sys.executable, "-c", CODE]


@pytest.fixture
def process() -> Iterator[JobProcess]:
    created = JobProcess(COMMAND)
    yield created
    created.terminate()


def run_job(process: JobProcess, job: str) -> JobOutcome | None:
    """Submit a job and wait for its outcome."""
    process.submit(job)
    return process.wait(60)


def test_job_process_runs_all_jobs_in_one_child(process: JobProcess, tmp_path: Path) -> None:
    out = tmp_path / "pids"
    assert not process.is_alive
    assert [run_job(process, f"write:{out}") for _ in range(3)] == ["done"] * 3
    assert process.is_alive
    assert len(set(out.read_text().split())) == 1


def test_job_process_replaces_child_that_died(process: JobProcess, tmp_path: Path) -> None:
    out = tmp_path / "pids"
    assert [run_job(process, job) for job in ("die", f"write:{out}")] == ["died", "done"]


def test_kill_ends_running_job_and_next_gets_new_child(process: JobProcess, tmp_path: Path) -> None:
    process.submit("sleep")
    assert process.wait(0.05) is None
    process.kill()
    assert process.wait(60) == "died" and not process.is_alive
    assert run_job(process, f"write:{tmp_path}/pids") == "done"


def test_terminate_ends_child_and_next_job_gets_new_one(
    process: JobProcess, tmp_path: Path
) -> None:
    assert run_job(process, f"write:{tmp_path}/pids") == "done"
    process.terminate()
    assert not process.is_alive
    assert run_job(process, f"write:{tmp_path}/pids") == "done"


def test_serve_jobs_exits_during_job_when_stdin_closes() -> None:
    read, write = os.pipe()
    with subprocess.Popen(COMMAND, stdin=read, stdout=subprocess.DEVNULL) as child:
        os.close(read)
        os.write(write, b"sleep\n")
        assert child.poll() is None
        os.close(write)
        assert child.wait(timeout=60) == 0
