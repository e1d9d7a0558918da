"""Shards on Ray: a killed worker loses nothing; errors have clear messages."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import MissingError, UsageError
from idiolect.history.write import write_dataset
from idiolect.privacy.ledger import Ledger
from idiolect.training.sharded import ray
from support.sharded_runs import COUNTS, assert_equals_whole_run, train
from support.tiny_people import make_rater, save_tiny_base

TESTS = Path(__file__).parents[2]
SHARDS = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a dataset, and the store of an unsharded run."""
    place = tmp_path_factory.mktemp("ray")
    save_tiny_base(place / "base")
    everyone = [make_rater(person, count) for person, count in COUNTS.items()]
    write_dataset(place / "data", everyone, task="rating", source="made up")
    train(place, place / "whole")
    return place


def start_driver(place: Path, store: Path) -> subprocess.Popen[str]:
    """Start a driver process, which starts Ray and works until all parts are merged."""
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "support.ray_driver",
            str(place),
            str(store),
            str(SHARDS),
        ],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def find_writer(store: Path) -> int | None:
    """Return the process that holds a part of the store and has begun to train."""
    for note in store.glob("parts/.*.held"):
        part = store / "parts" / note.name.removeprefix(".").removesuffix(".held")
        metrics = part / "metrics.jsonl"
        with contextlib.suppress(OSError):
            if metrics.is_file() and metrics.stat().st_size:
                found = re.search(r"process (\d+)", note.read_text())
                return int(found[1]) if found else None
    return None


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_personalize_on_ray_survives_killed_worker(place: Path, tmp_path: Path) -> None:
    """Invariant 5: a worker is killed in the middle of a shard; another one resumes it."""
    store = tmp_path / "store"
    driver = start_driver(place, store)
    victim = None
    while victim is None and driver.poll() is None:
        victim = find_writer(store)
        time.sleep(0.002)
    assert victim is not None and victim != driver.pid, driver.communicate()
    # Kill the worker in the middle of its shard; the driver must still finish.
    os.kill(victim, signal.SIGKILL)
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    done = json.loads(out.splitlines()[-1])
    assert {*done["trained"], *done["unchanged"], *done["too_few"]} == set(COUNTS)
    assert_equals_whole_run(place, store)
    assert not (store / "parts").exists()
    assert len(Ledger(store / "ledger").read_entries()) == len(COUNTS) - 1
    # A second run has nothing to train.
    again = start_driver(place, store)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["trained"] == []


def test_personalize_without_ray_says_how_to_install_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"pip install 'idiolect\[ray\]'"):
        train(place, tmp_path / "store", ray="local")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 2}, "shards and workers need ray"),
        ({"workers": 2}, "shards and workers need ray"),
        ({"ray": "local", "shard": "1/2"}, "shard and ray exclude each other"),
        ({"ray": "local", "shards": 0}, "shards: must be at least 1, got 0"),
        ({"ray": "local", "workers": -1}, "workers: must be at least 1, got -1"),
    ],
)
def test_personalize_refuses_conflicting_ray_options(
    place: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(place, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def make_node(cpu: float, gpu: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpu} | ({"GPU": gpu} if gpu else {})}


def plan(nodes: list[dict[str, Any]], workers: int | None = None, gpus: bool = True) -> Any:
    found = ray.plan_workers(nodes, workers, gpus=gpus)
    return found.workers, found.cpus, found.gpus


def test_plan_workers_follows_resources_of_cluster() -> None:
    assert plan([make_node(2)]) == (1, 2, 0)
    assert plan([make_node(8), make_node(4), make_node(16, alive=False)]) == (2, 4, 0)
    assert plan([make_node(16, 4), make_node(16, 4)]) == (8, 4, 1)
    assert plan([make_node(16, 4)], gpus=False) == (1, 16, 0)
    assert plan([make_node(16, 1)], workers=2) == (2, 8, 0.5)
    assert plan([make_node(2)], workers=3) == (3, 1, 0)
    with pytest.raises(MissingError, match="no CPU to give"):
        plan([make_node(4, alive=False)])
