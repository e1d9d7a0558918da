"""A training in its own process, which a test kills."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save

from idiolect.models.tiny import make_tiny_base
from idiolect.storage.files import write_atomic
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingResult
from idiolect.training.schedule import TrainConfig
from support.job_strategies import LORA, make_jobs

WORK = make_jobs(4, 6)
CONFIG = TrainConfig(batch=2, epochs=3)
LONG = replace(CONFIG, epochs=12)
"""About a hundred steps, so that it cannot finish before it is killed."""
ENGINE = EngineConfig(slots=2, checkpoint_seconds=0)


def train_and_save(checkpoint: str, out: str) -> None:
    """Train with a checkpoint after each step, and write the adapters to ``out``."""
    torch.set_num_threads(1)
    done = train_many(make_tiny_base(), WORK, LORA, LONG, ENGINE, checkpoint=Path(checkpoint))
    write_atomic(Path(out), serialize_adapters(done))


def serialize_adapters(done: tuple[TrainingResult, ...]) -> bytes:
    """Return the tensors of all people as one file."""
    tensors = {
        f"{trained.person}.{path}.{half}": tensor.contiguous().clone()
        for trained in done
        for path, pair in trained.adapter.pairs.items()
        for half, tensor in zip("AB", pair, strict=True)
    }
    return save(tensors)
