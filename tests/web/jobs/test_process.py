"""The process that does jobs: kept for the next one, replaced when dead, ended with its owner."""

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
def hand() -> Iterator[JobProcess]:
    made = JobProcess(COMMAND)
    yield made
    made.terminate()


def done(hand: JobProcess, job: str) -> JobOutcome | None:
    hand.submit(job)
    return hand.wait(60)


def test_one_process_does_job_after_job(hand: JobProcess, tmp_path: Path) -> None:
    out = tmp_path / "pids"
    assert not hand.is_alive
    assert [done(hand, f"write:{out}") for _ in range(3)] == ["done"] * 3
    assert hand.is_alive
    assert len(set(out.read_text().split())) == 1


def test_after_one_that_died_comes_another(hand: JobProcess, tmp_path: Path) -> None:
    out = tmp_path / "pids"
    assert [done(hand, job) for job in ("die", f"write:{out}")] == ["died", "done"]


def test_one_that_was_killed_is_replaced(hand: JobProcess, tmp_path: Path) -> None:
    hand.submit("sleep")
    assert hand.wait(0.05) is None
    hand.kill()
    assert hand.wait(60) == "died" and not hand.is_alive
    assert done(hand, f"write:{tmp_path}/pids") == "done"


def test_one_that_is_let_go_is_gone(hand: JobProcess, tmp_path: Path) -> None:
    assert done(hand, f"write:{tmp_path}/pids") == "done"
    hand.terminate()
    assert not hand.is_alive
    assert done(hand, f"write:{tmp_path}/pids") == "done"


def test_it_ends_with_whoever_started_it_in_the_middle_of_a_job() -> None:
    read, write = os.pipe()
    with subprocess.Popen(COMMAND, stdin=read, stdout=subprocess.DEVNULL) as child:
        os.close(read)
        os.write(write, b"sleep\n")
        assert child.poll() is None
        os.close(write)
        assert child.wait(timeout=60) == 0
