"""Means of fewer people than the product allows, without an audit: keeps other tests small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from idiolect import api


def make_small_mean(store: Path, people: Sequence[str], out: Path, **options: Any) -> Any:
    """Write the mean of some people's adapters, at least one."""
    with mock.patch("idiolect.pieces.means.run.MIN_PEOPLE", 1):
        return api.mean(
            api.MeanRequest(
                store=store, people=people, out=out, override_leakage="made up", **options
            )
        )
