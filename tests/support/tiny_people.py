"""People, a base on disk and small settings, for tests of training and serving."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.adapters.protocol import Adapter
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.models.base import Base
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.load import load_base
from idiolect.models.tiny import make_tiny_base
from idiolect.tasks.registry import get_task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.holdout_gate import GateConfig
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.schedule import TrainConfig

torch.set_num_threads(1)  # faster for such a small model, and leaves cores to other processes

RATING = get_task("rating")
LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))
UNGATED = PersonalConfig(
    lora=LORA,
    train=TrainConfig(batch=4, epochs=1, rate=0.02),
    gate=GateConfig(on=False),
    dtype="float32",
    device="cpu",
)
GATED = replace(UNGATED, gate=GateConfig())
ENGINE = EngineConfig(slots=2)


def write_tiny_folder(folder: Path, seed: int = 0) -> None:
    """Save the tiny model and its tokenizer to a folder."""
    tiny = make_tiny_base(seed)
    with silence_transformers():
        tiny.model.save_pretrained(folder)
        tiny.tokenizer.save_pretrained(folder)


def save_tiny_base(folder: Path, seed: int = 0) -> Base:
    """Save the tiny model to a folder, and load it from there."""
    write_tiny_folder(folder, seed)
    return load_base(folder, dtype="float32", device="cpu")


def make_rater(
    person: str, count: int, *, seed: int = 0, rated: Callable[[int], int] | None = None
) -> History:
    """Make a person who rated ``count`` films, one per day."""
    draw = random.Random(f"{seed}{person}")
    items = [
        Interaction(
            id=f"{person}-{n}",
            position=n,
            time=86_400.0 * n,
            fields={
                "title": f"Film {draw.randint(1, 99)}",
                "year": "1990",
                "genres": draw.choice(("Drama", "Comedy", "War")),
                "rating": str(rated(n) if rated else draw.randint(1, 5)),
            },
        )
        for n in range(count)
    ]
    return History.from_interactions(person, items)


def to_tensor_bytes(adapter: Adapter | None) -> list[bytes]:
    """Return the bytes of an adapter's tensors, in order of their names."""
    assert adapter is not None
    named: list[Any] = [tensor for _, tensor in sorted(adapter.tensors().items())]
    return [t.contiguous().numpy().tobytes() for t in named]


def random_adapter(
    base: Base, seed: int, config: LoraConfig = LORA, size: float = 0.3
) -> LoraAdapter:
    """Make an adapter with random B, which changes the model's output."""
    made = init_lora(base, config, seed=seed, person="someone")
    draw = torch.Generator().manual_seed(seed)
    pairs = {
        path: (a, torch.randn(b.shape, generator=draw, dtype=b.dtype) * size)
        for path, (a, b) in made.pairs.items()
    }
    return replace(made, pairs=pairs)
