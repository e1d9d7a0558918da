"""Ends the wait for work that others can make last forever."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")


def call_within(seconds: float, function: Callable[[], T]) -> T:
    """Return what the function returns, or raise what it raises; raises TimeoutError after
    ``seconds``.

    Python cannot stop a function: it goes on in a thread that ends with the process. So this is for
    what is wrong with the input, where the process ends after the error.
    """
    results: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

    def run_function() -> None:
        try:
            value = function()
        except BaseException as error:
            results.put(_make_raiser(error))
        else:
            results.put(lambda: value)

    threading.Thread(target=run_function, daemon=True).start()
    try:
        outcome = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("timed out") from None
    return outcome()


def _make_raiser(error: BaseException) -> Callable[[], NoReturn]:
    def raise_error() -> NoReturn:
        raise error

    return raise_error
