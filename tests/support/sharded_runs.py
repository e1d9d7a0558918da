"""Sharded runs on a tiny base: train into a folder, and compare a merged store with a whole run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import api
from idiolect.adapters.lora import require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from support.tiny_people import UNGATED

COUNTS = {f"p{n}": 9 + n for n in range(8)} | {"few": 2}
"""The number of items of each person; ``few`` has too few to train on."""


def train(place: Path, store: Path, **options: Any) -> Any:
    """Personalize people of ``place/data`` on ``place/base`` into a store."""
    given = {"config": UNGATED, "base": str(place / "base"), "data": place / "data"} | options
    return api.personalize(api.PersonalizeRequest(data=given.pop("data"), store=store, **given))


def get_existing_record(store: AdapterStore, person: str) -> AdapterRecord:
    """Return a person's record; fails if the store has none."""
    found = store.get_record(person)
    assert found is not None
    return found


def assert_equals_whole_run(place: Path, folder: Path) -> None:
    """Check that a store equals ``place/whole``: people, records and adapters, up to rounding."""
    whole, merged = AdapterStore.open(place / "whole"), AdapterStore.open(folder)
    assert merged.people == whole.people and merged.settings == whole.settings
    for person in whole.people:
        one, other = get_existing_record(whole, person), get_existing_record(merged, person)
        assert other.last_loss == pytest.approx(one.last_loss, rel=1e-5)
        plain = {"row": None, "first_loss": 0.0, "last_loss": 0.0}
        assert replace(one, **plain) == replace(other, **plain)
        adapters = whole.get_adapter(person), merged.get_adapter(person)
        if adapters[0] is not None and adapters[1] is not None:
            assert _find_largest_difference(adapters[0], adapters[1]) <= 1e-5
        assert (adapters[0] is None) == (adapters[1] is None)


def _find_largest_difference(one: Adapter, other: Adapter) -> float:
    """Return the largest ||dBA|| / ||BA|| of a module."""
    ours, theirs = require_lora(one).pairs, require_lora(other).pairs
    pairs = [(b @ a, ours[path]) for path, (a, b) in theirs.items()]
    return max(float(torch.linalg.norm(b @ a - d) / torch.linalg.norm(d)) for d, (a, b) in pairs)
