"""One thread uses a model at a time: hooks, attention and layers are changed on the shared model.

Adapters act through forward hooks, and faster forwards replace parts of the model for a moment. A
second thread would run with the first one's adapters. So code that changes or runs the model claims
it for its thread, and a claim of another thread is an error at once. A server runs one model thread
and sends it the work through a queue.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from idiolect.errors import BusyError


class _Claim:
    """Which thread uses a model, and how often it has claimed it."""

    def __init__(self) -> None:
        self.thread = self.depth = 0
        self.has_adapters = False


_claims: WeakKeyDictionary[Any, _Claim] = WeakKeyDictionary()
_guard = threading.Lock()
"""Held only while a claim is read or changed."""


@contextmanager
def claim_model(model: Any, *, adapters: bool = False) -> Iterator[None]:
    """Inside the context, only this thread may use the model.

    The same thread may claim again, but only one of its claims may add ``adapters``. Raises
    BusyError if another thread uses the model, or for a second set of adapters.
    """
    me = threading.get_ident()
    with _guard:
        claim = _claims.setdefault(model, _Claim())
        if claim.depth and claim.thread != me:
            raise _make_busy_error()
        if adapters and claim.has_adapters:
            raise BusyError(
                "adapters are already active on this base model; leave their context before "
                "activating others"
            )
        claim.thread, claim.depth = me, claim.depth + 1
        claim.has_adapters = claim.has_adapters or adapters
    try:
        yield
    finally:
        with _guard:
            claim.depth -= 1
            claim.has_adapters = claim.has_adapters and not adapters


def require_thread(owner: int) -> None:
    """Raise BusyError if another thread than ``owner`` (its identifier) runs the call."""
    if threading.get_ident() != owner:
        raise _make_busy_error()


def _make_busy_error() -> BusyError:
    return BusyError(
        "another thread is using this base model; run all work on a model in one thread (send it "
        "there through a queue), or load the model again for each thread"
    )
