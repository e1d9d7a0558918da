"""Simulates a process that crashes while writing, for tests of how a second run recovers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


def fail_at(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise KeyboardInterrupt in every ``fsync`` after the first ``count`` ones, inside one
    iteration."""
    fsync, calls = os.fsync, [0]

    def failing_fsync(handle: int) -> None:
        calls[0] += 1
        if calls[0] > count:
            raise KeyboardInterrupt
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync)
        yield
