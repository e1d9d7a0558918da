"""Work that others can make last forever."""

from __future__ import annotations

import threading

import pytest

from idiolect.deadlines import call_within


def test_call_within_returns_or_raises_what_function_does() -> None:
    assert call_within(600, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(600, lambda: 1 // 0)


@pytest.mark.finding("foreign-base")
def test_call_within_ends_wait_for_function_that_goes_on() -> None:
    over = threading.Event()
    try:
        with pytest.raises(TimeoutError, match="timed out"):
            call_within(0.01, over.wait)
    finally:
        over.set()
