"""A process that ends in the middle of its writing, for tests of what a second run makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


def fail_at(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process ends at the so-manieth time that a file is to be made sure of."""
    fsync, calls = os.fsync, [0]

    def failing_fsync(handle: int) -> None:
        calls[0] += 1
        if calls[0] > count:
            raise KeyboardInterrupt
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync)
        yield
