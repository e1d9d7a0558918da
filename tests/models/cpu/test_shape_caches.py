"""Memory does not grow with the number of people; measured in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.models.cpu.shape_caches import CACHE_ENTRIES, limit_onednn_shape_caches
from support.tiny_people import make_rater, save_tiny_base

MEMORY_SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import psutil
from idiolect import api
from idiolect.events import Progress
from support.tiny_people import GATED

place, seen = Path(sys.argv[1]), []

def watch(event):
    if isinstance(event, Progress) and event.stage == "people":
        seen.append(psutil.Process().memory_info().rss / 1e6)

config = replace(GATED, dtype="bfloat16")  # the shape caches are for bf16
request = api.PersonalizeRequest(
    data=place / "data", store=place / "store", base=str(place / "base"), config=config
)
api.personalize(request, listener=watch)
print(json.dumps(seen))
"""
MEGABYTES = 50


def vary_titles(history: History) -> History:
    """Return the history with titles of many lengths, so that shapes rarely repeat."""
    draw = random.Random(history.person)
    items = [
        replace(item, fields={**item.fields, "title": "Film" * draw.randint(1, 12)})
        for item in history.items
    ]
    return replace(history, items=tuple(items))


def test_personalize_memory_is_flat_over_people(tmp_path: Path) -> None:
    """Measured after the first shard of 32. With torch's own limits it grows by over 400 MB, on
    CPUs that compute in bf16."""
    save_tiny_base(tmp_path / "base")
    people = [vary_titles(make_rater(f"p{n:03d}", 9 + n % 23)) for n in range(96)]
    write_dataset(tmp_path / "data", people, task="rating", source="made up")
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Memory after each shard of 32 people.
    _, first, *later = json.loads(done.stdout.splitlines()[-1])
    assert len(later) >= 3
    assert max(later) - first < MEGABYTES, (first, later)


def test_limit_onednn_shape_caches_keeps_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    limit_onednn_shape_caches()
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == str(CACHE_ENTRIES)
