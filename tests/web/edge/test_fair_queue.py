"""The queue for threads: clients take turns, and places are limited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from idiolect.web.edge.fair_queue import FairQueue, QueueFullError

pytestmark = pytest.mark.finding("slow-requests")


class Harness:
    """A queue whose first job blocks its thread until the test opens the gate."""

    def __init__(self, **options: int) -> None:
        self.queue = FairQueue(
            "test", **({"threads": 1, "places": 9, "places_per_client": 4} | options)
        )
        self.gate = threading.Event()
        self.order: list[str] = []

    async def block(self, count: int = 1) -> list[asyncio.Task[Any]]:
        """Occupy ``count`` threads."""
        tasks = [self.start(self.queue.run("first", self.gate.wait)) for _ in range(count)]
        await asyncio.sleep(0)
        return tasks

    def start(self, running: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task."""
        return asyncio.get_running_loop().create_task(running)

    async def add(self, client: str) -> asyncio.Task[Any]:
        """Add a job that notes its client; return its task, which waits or has failed."""
        task = self.start(self.queue.run(client, lambda: self.order.append(client)))
        await asyncio.sleep(0)
        return task


def test_fair_queue_gives_clients_turns() -> None:
    async def run() -> list[str]:
        harness = Harness()
        tasks = await harness.block()
        for client in ["a", "a", "a", "b", "c", "b"]:
            tasks.append(await harness.add(client))
        harness.gate.set()
        await asyncio.gather(*tasks)
        tasks.append(await harness.add("d"))
        await asyncio.gather(*tasks)
        return harness.order

    assert asyncio.run(run()) == ["a", "b", "c", "a", "b", "a", "d"]


def test_fair_queue_limits_places_of_one_client_and_in_all() -> None:
    async def run() -> list[str]:
        harness = Harness(places=3, places_per_client=2)
        tasks = await harness.block()
        refused: list[str] = []
        for client in ["a", "a", "a", "b", "c"]:
            task = await harness.add(client)
            if task.done() and isinstance(task.exception(), QueueFullError):
                refused.append(client)
            else:
                tasks.append(task)
        harness.gate.set()
        await asyncio.gather(*tasks)
        assert sorted(harness.order) == ["a", "a", "b"]
        return refused

    assert asyncio.run(run()) == ["a", "c"]


def test_fair_queue_runs_no_more_than_its_threads() -> None:
    async def run() -> None:
        harness = Harness(threads=2)
        tasks = await harness.block(2)
        waiting = await harness.add("a")
        await asyncio.sleep(0)
        assert not waiting.done() and harness.order == []
        harness.gate.set()
        await asyncio.gather(*tasks, waiting)

    asyncio.run(run())


def test_fair_queue_passes_turn_of_cancelled_and_failed_jobs() -> None:
    def fail() -> None:
        raise ValueError("the job failed")

    async def run() -> list[str]:
        harness = Harness()
        tasks = await harness.block()
        cancelled = await harness.add("a")
        failing = harness.start(harness.queue.run("b", fail))
        tasks.append(await harness.add("c"))
        cancelled.cancel()
        harness.gate.set()
        found = await asyncio.gather(cancelled, failing, return_exceptions=True)
        assert [type(error) for error in found] == [asyncio.CancelledError, ValueError]
        await asyncio.gather(*tasks)
        return harness.order

    assert asyncio.run(run()) == ["c"]
