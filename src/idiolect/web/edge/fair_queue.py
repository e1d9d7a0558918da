"""A queue for a few threads in which clients take turns.

One client with many requests waits behind itself: between two of its requests, each other client
gets a turn. Requests wait in the event loop, not in a thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class QueueFullError(Exception):
    """No place is left to wait; the client may try again later."""


class FairQueue:
    """Runs functions in threads; use it from one event loop."""

    def __init__(self, name: str, *, threads: int, places: int, places_per_client: int) -> None:
        """Set up the queue.

        Args:
            name: prefix of the threads' names.
            threads: number of functions that run at the same time.
            places: number of functions that wait.
            places_per_client: how many of them may be from one client.
        """
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places, self._places_per_client = places, places_per_client
        self._free = threads
        self._waiting = 0
        # The lines of the clients, in the order of their turns.
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    async def run(self, client: str, work: Callable[[], Result]) -> Result:
        """Return the result of ``work``, which runs in a thread when the client's turn comes.

        Raises QueueFullError if too many functions wait already, of this client or in all.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait_for_turn(client)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pass_turn()

    def stop_threads(self) -> None:
        """Wait for the functions that run; no other can follow."""
        self._threads.shutdown()

    async def _wait_for_turn(self, client: str) -> None:
        line = self._lines.get(client, ())
        if self._waiting >= self._places or len(line) >= self._places_per_client:
            raise QueueFullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(client, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come in the same step of the loop.
            if not turn.cancelled():
                self._pass_turn()
            raise

    def _pass_turn(self) -> None:
        """Give the turn to the client that has waited longest for one, or to the next one."""
        while self._lines:
            client = next(iter(self._lines))
            line = self._lines.pop(client)
            turn = line.popleft()
            self._waiting -= 1
            if line:
                self._lines[client] = line  # behind all others
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._free += 1
