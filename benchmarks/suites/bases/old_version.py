"""Trains people on the embedded base with the version of Idiolect in PYTHONPATH; prints seconds.

Uses only what both compared versions have.
"""

from __future__ import annotations

import json
import random
import sys
import time

from idiolect.adapters.lora import LoraConfig
from idiolect.models.load import load_base
from idiolect.prompts.render import Example
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig

REPEATS = 3


def main() -> None:
    """Train once to warm up and ``REPEATS`` times to measure."""
    people, draw, base = int(sys.argv[1]), random.Random(0), load_base()

    def draw_tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1000, 40_000) for _ in range(count))

    first = draw_tokens(24)
    jobs = [
        TrainingJob(
            person=f"p{n}",
            examples=tuple(
                Example(first + draw_tokens(20 + draw.randrange(40)), 36) for _ in range(8)
            ),
        )
        for n in range(people)
    ]
    lora = LoraConfig(targets=("q_proj", "v_proj"))
    times: list[float] = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        train_many(base, jobs, lora, TrainConfig(epochs=1, seed=0))
        times.append(time.perf_counter() - began)
    print(json.dumps(times[1:]))


if __name__ == "__main__":
    main()
