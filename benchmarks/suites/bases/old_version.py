"""Trains people on the embedded base with the version of Idiolect in PYTHONPATH; prints seconds.

Both compared versions train the same people with the same settings; only the names of modules and
of one class differ.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class VersionModules:
    """Where a version keeps what is compared."""

    base: str
    example: str
    job: tuple[str, str]
    engine: str


NOW = VersionModules(
    base="idiolect.models.load",
    example="idiolect.prompts.render",
    job=("idiolect.training.jobs", "TrainingJob"),
    engine="idiolect.training.engine.train_many",
)
OLD = VersionModules(
    base="idiolect.models.base",
    example="idiolect.models.prompting",
    job=("idiolect.training.jobs", "Job"),
    engine="idiolect.training.batched",
)


def main() -> None:
    """Train once to warm up and ``REPEATS`` times to measure."""
    version = NOW if importlib.util.find_spec("idiolect.prompts") else OLD
    base = _get(version.base, "load_base")()
    make_example, make_job = _get(version.example, "Example"), _get(*version.job)
    train_many = _get(version.engine, "train_many")
    draw = random.Random(0)

    def draw_tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1000, 40_000) for _ in range(count))

    first = draw_tokens(24)  # the prompts begin alike
    jobs = [
        make_job(
            person=f"p{n}",
            examples=tuple(
                make_example(first + draw_tokens(20 + draw.randrange(40)), 36) for _ in range(8)
            ),
        )
        for n in range(int(sys.argv[1]))
    ]
    # Named in full, because the defaults may differ.
    lora = _get("idiolect.adapters.lora", "LoraConfig")(
        rank=8, alpha=8.0, targets=("q_proj", "v_proj")
    )
    train = _get("idiolect.training.schedule", "TrainConfig")(rate=2e-3, epochs=1, batch=8, seed=0)
    times: list[float] = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        train_many(base, jobs, lora, train)
        times.append(time.perf_counter() - began)
    print(json.dumps(times[1:]))


def _get(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()
