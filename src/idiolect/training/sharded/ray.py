"""A sharded run on Ray: actors load the base once and train shards; then the parts are merged.

Each actor writes only the part of its shard, so a killed actor loses at most the work since its
last checkpoint: Ray starts another one, which resumes that part. All machines must see the same
folders. Ray is imported on use.
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
"""How often a shard is given to a new worker after its worker died."""
SHARDS_PER_WORKER = 4
"""Enough that one slow shard does not delay the end, few enough that loading the base pays."""


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """The number of workers to request from a cluster, and the resources of each."""

    workers: int
    cpus: int
    gpus: float


def personalize_on_ray(
    request: PersonalizeRequest,
    *,
    open_starts: OpenStarts | None = None,
    listener: Listener = null_listener,
) -> PersonalSummary:
    """Run a request in shards on its Ray cluster (``local``: on this machine), and merge the parts.

    If ``shards`` is not set, the number of waiting parts' shards is used, or four per worker.
    Running the same call again resumes. Raises MissingError if Ray or the cluster is not available,
    TrainingError if a shard's worker died repeatedly.
    """
    shards, workers = request.shards, request.workers
    for name, value in (("shards", shards), ("workers", workers)):
        if value is not None and value < 1:
            raise UsageError(f"{name}: must be at least 1, got {value}")
    # Check the request before connecting: a wrong person or shard count fails at once.
    started = time.monotonic()
    request = _make_paths_absolute(request)
    people = list_people(request, open_dataset(request))
    if shards is not None:
        require_shard_count(request.store, shards)
    device = request.config.device if request.config else "auto"
    with _connect_ray(request.ray or LOCAL) as ray:
        # Size of the run: workers from the cluster's resources, shards from the waiting parts, else
        # from the workers; never more shards than people.
        resources = plan_workers(ray.nodes(), workers, gpus=device != "cpu")
        waiting = list_parts(request.store)
        fit = min(SHARDS_PER_WORKER * resources.workers, len(people))
        of = shards or (waiting[0].total if waiting else max(1, fit))
        resources = replace(resources, workers=min(resources.workers, of))
        done = _run_shards(ray, request, open_starts, of, resources, listener=listener)
    # Merge after the workers are released.
    merge_parts(request.store, wait=request.wait)
    return merge_summaries(done, seconds=time.monotonic() - started)


class _RayWorker:
    """One worker process of the cluster; it loads its base once."""

    def __init__(
        self, request: PersonalizeRequest, open_starts: OpenStarts | None, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self.request, self.open_starts = request, open_starts
        self.personalizing: PersonalizeRun | None = None

    def run(self, shard: RunShard) -> PersonalSummary | IdiolectError:
        """Train a shard. An IdiolectError is returned as a value, without a trace."""
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
    resources: WorkerResources,
    *,
    listener: Listener,
) -> list[PersonalSummary]:
    """Return the summary of each shard; a free worker takes the next shard."""
    kind = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
        max_restarts=-1,
        max_task_retries=MAX_RETRIES,
    )(_RayWorker)
    # One actor per worker. ``running`` maps Ray's reference of a result to its actor and shard.
    free = [kind.remote(request, open_starts, resources.cpus) for _ in range(resources.workers)]
    queue = [RunShard(number, of) for number in range(1, of + 1)]
    running: dict[Any, tuple[Any, RunShard]] = {}
    done: list[PersonalSummary] = []
    while queue or running:
        listener(Progress(stage="shards", done=len(done), total=of, unit="shards"))
        while queue and free:
            actor, shard = free.pop(), queue.pop(0)
            running[actor.run.remote(shard)] = (actor, shard)
        # Wait for any shard to finish; its actor is free again.
        (ready, *_), _ = ray.wait([*running], num_returns=1)
        actor, shard = running.pop(ready)
        done.append(_get_result(ray, ready, shard))
        free.append(actor)
    listener(Progress(stage="shards", done=of, total=of, unit="shards"))
    return done


def _get_result(ray: Any, ready: Any, shard: RunShard) -> PersonalSummary:
    """Return a shard's summary, or raise the error that stopped it."""
    try:
        found = ray.get(ready)
    except ray.exceptions.RayActorError as error:
        raise TrainingError(
            f"shard {shard}: its worker died {MAX_RETRIES + 1} times, or could not be started "
            f"({str(error).splitlines()[0]}); check its memory, then run the same command again "
            "to resume"
        ) from error
    if isinstance(found, IdiolectError):
        raise found
    return found


def plan_workers(
    nodes: list[dict[str, Any]], workers: int | None, *, gpus: bool
) -> WorkerResources:
    """Plan the workers for a cluster's live nodes: one per GPU, or one per node without GPUs.

    If ``workers`` is larger, workers share a node's cores or a GPU. Raises MissingError if no live
    node has a CPU.
    """
    # Live nodes with CPUs only; a head node may have none.
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
    """Connect to Ray while inside; an existing connection is used and left open."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
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
            f"no Ray cluster at {address!r} ({reason}); give its address, or 'auto' on one of its "
            "machines, or 'local'"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _make_paths_absolute(request: PersonalizeRequest) -> PersonalizeRequest:
    """Return the request with absolute paths, which are valid in another process."""
    base = request.base
    return replace(
        request,
        data=request.data.absolute(),
        store=request.store.absolute(),
        base=str(Path(base).absolute()) if Path(base).is_dir() else base,
        profiles=request.profiles.absolute() if request.profiles else None,
        start=request.start.absolute() if request.start else None,
    )
