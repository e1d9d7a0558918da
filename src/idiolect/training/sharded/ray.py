"""The shards of a run on Ray: actors that hold the base, one shard at a time each; then merging.

Every actor writes only the part of its shard, so a killed one loses at most what it did since its
last checkpoint: Ray starts another, which goes on with that part. All machines must see the same
folders. Ray is imported when it is used, and told nothing that must be remembered.
"""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from idiolect.errors import IdiolectError, MissingError, TrainingError, UsageError
from idiolect.events import Listener, Progress, null_listener
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.run import OpenStarts, PersonalizeRun, list_people, open_dataset
from idiolect.training.runs.summary import PersonalSummary, merge_summaries
from idiolect.training.sharded.parts import RunShard, list_parts, require_shard_count
from idiolect.training.sharded.shards import merge_parts, run_shard

LOCAL = "local"
MAX_RETRIES = 3
"""Times that a shard is given to a new worker after its worker died."""
SHARDS_PER_WORKER = 4
"""Enough that a slow shard does not keep everybody waiting, few enough that loading pays."""


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """How many workers a cluster is asked for, and what each of them gets."""

    workers: int
    cpus: int
    gpus: float


def personalize_on_ray(
    request: PersonalizeRequest,
    *,
    open_starts: OpenStarts | None = None,
    listener: Listener = null_listener,
) -> PersonalSummary:
    """Do a request in shards on its Ray cluster (``local``: on this machine), and merge the parts.

    Without ``shards`` it goes on with as many as wait in the store, or makes four a worker.
    Raises MissingError where Ray or the cluster is not there, TrainingError where a shard's worker
    died again and again; the same call goes on.
    """
    shards, workers = request.shards, request.workers
    for name, value in (("shards", shards), ("workers", workers)):
        if value is not None and value < 1:
            raise UsageError(f"{name}: must be at least 1, got {value}")
    started = time.monotonic()
    request = _make_paths_absolute(request)
    people = list_people(request, open_dataset(request))
    if shards is not None:
        require_shard_count(request.store, shards)
    device = request.config.device if request.config else "auto"
    with _connect_ray(request.ray or LOCAL) as ray:
        seats = plan_workers(ray.nodes(), workers, gpus=device != "cpu")
        waiting = list_parts(request.store)
        fit = min(SHARDS_PER_WORKER * seats.workers, len(people))
        of = shards or (waiting[0].total if waiting else max(1, fit))
        seats = replace(seats, workers=min(seats.workers, of))
        done = _run_shards(ray, request, open_starts, of, seats, listener=listener)
    merge_parts(request.store, wait=request.wait)
    return merge_summaries(done, seconds=time.monotonic() - started)


class _RayWorker:
    """One worker process of the cluster; its base is loaded once."""

    def __init__(
        self, request: PersonalizeRequest, open_starts: OpenStarts | None, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self.request, self.open_starts = request, open_starts
        self.personalizing: PersonalizeRun | None = None

    def run(self, shard: RunShard) -> PersonalSummary | IdiolectError:
        """Do a shard; what is to be said to people comes back as a value, without a trace."""
        try:
            self.personalizing = self.personalizing or PersonalizeRun(
                self.request, open_starts=self.open_starts
            )
            return run_shard(self.personalizing, shard)
        except IdiolectError as error:
            return error


def _run_shards(
    ray: Any,
    request: PersonalizeRequest,
    open_starts: OpenStarts | None,
    of: int,
    seats: WorkerResources,
    *,
    listener: Listener,
) -> list[PersonalSummary]:
    """Every shard's summary; whoever is free takes the next one."""
    kind = ray.remote(
        num_cpus=seats.cpus, num_gpus=seats.gpus, max_restarts=-1, max_task_retries=MAX_RETRIES
    )(_RayWorker)
    free = [kind.remote(request, open_starts, seats.cpus) for _ in range(seats.workers)]
    queue = [RunShard(number, of) for number in range(1, of + 1)]
    running: dict[Any, tuple[Any, RunShard]] = {}
    done: list[PersonalSummary] = []
    while queue or running:
        listener(Progress(stage="shards", done=len(done), total=of, unit="shards"))
        while queue and free:
            actor, shard = free.pop(), queue.pop(0)
            running[actor.run.remote(shard)] = (actor, shard)
        (ready, *_), _ = ray.wait([*running], num_returns=1)
        actor, shard = running.pop(ready)
        done.append(_get_result(ray, ready, shard))
        free.append(actor)
    listener(Progress(stage="shards", done=of, total=of, unit="shards"))
    return done


def _get_result(ray: Any, ready: Any, shard: RunShard) -> PersonalSummary:
    try:
        found = ray.get(ready)
    except ray.exceptions.RayActorError as error:
        raise TrainingError(
            f"shard {shard}: its worker died {MAX_RETRIES + 1} times, or could not be started "
            f"({str(error).splitlines()[0]}); see to its memory, then run the same command again "
            "to go on"
        ) from error
    if isinstance(found, IdiolectError):
        raise found
    return found


def plan_workers(
    nodes: list[dict[str, Any]], workers: int | None, *, gpus: bool
) -> WorkerResources:
    """Workers for the living nodes of a cluster: one a GPU, or one a node where there is none.

    More workers than that share a node's cores, or a GPU.
    """
    found = [node["Resources"] for node in nodes if node["Alive"] and "CPU" in node["Resources"]]
    if not found:
        raise MissingError("the Ray cluster has no CPU to give; add nodes, then run again")
    cards = int(sum(node.get("GPU", 0) for node in found)) if gpus else 0
    count = workers or cards or len(found)
    cores = min(int(node["CPU"]) for node in found)
    cpus = max(1, cores // math.ceil(count / len(found)))
    return WorkerResources(workers=count, cpus=cpus, gpus=min(1.0, cards / count))


@contextmanager
def _connect_ray(address: str) -> Generator[Any]:
    """Ray, connected; a connection that was there before is used and left."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingError(
            "Ray is not installed; install it with: pip install 'idiolect[ray]'"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {"address": LOCAL, "include_dashboard": False}
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError(
            f"no Ray cluster at {address!r} ({reason}); give its address, 'auto' on one of its "
            "machines, or 'local'"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _make_paths_absolute(request: PersonalizeRequest) -> PersonalizeRequest:
    """The same folders by names that hold in another process."""
    base = request.base
    return replace(
        request,
        data=request.data.absolute(),
        store=request.store.absolute(),
        base=str(Path(base).absolute()) if Path(base).is_dir() else base,
        profiles=request.profiles.absolute() if request.profiles else None,
        start=request.start.absolute() if request.start else None,
    )
