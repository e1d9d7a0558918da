"""What one person's training consists of: settings, batches of items, and the rate of each step.

Pure: knows no model. Everything of a person follows from (seed, person, their number of examples).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from idiolect.config import derive_seed
from idiolect.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How one person's adapter is trained; the same for every person of a run.

    A step is one batch of ``batch`` of the person's items; token mean over the batch. The OPPU
    paper's settings for 7B are rate 1e-4, batch 16, clip 0.3, 2 epochs; on the 135M base those
    hardly move, and few large steps do worse than more small ones (docs/notes/defaults.md).
    """

    rate: float = 2e-3
    epochs: int = 2
    steps: int | None = None
    """So many steps for everyone, over the items again and again; ``None`` for whole epochs."""
    batch: int = 8
    weight_decay: float = 1e-2
    clip: float = 1.0
    """Largest gradient norm of one person's step."""
    warmup: float = 0.1
    """Share of the steps over which the rate rises."""
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    patience: int = 0
    """Stop after so many epochs in a row without a lower loss on the person's held-out tail, and
    give the best epoch's adapter; 0 trains all epochs."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rate", "clip", "epsilon"):
            if not getattr(self, name) > 0:
                raise UsageError(f"train.{name}: must be above 0, got {getattr(self, name)}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"train.{name}: must be at least 1, got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"train.steps: must be at least 1, got {self.steps}")
        if self.patience < 0:
            raise UsageError(f"train.patience: must be 0 (off) or more, got {self.patience}")
        if self.patience and self.steps is not None:
            raise UsageError("train.patience: counts epochs; set it, or train.steps, not both")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"train.{name}: must be in [0, 1), got {getattr(self, name)}")


def plan_batches(examples: int, config: TrainConfig, person: str) -> tuple[tuple[int, ...], ...]:
    """The numbers of the examples in every step's batch; each epoch in its own seeded order."""
    out: list[tuple[int, ...]] = []
    steps = count_steps(examples, config)
    epoch = 0
    while len(out) < steps:
        order = list(range(examples))
        random.Random(derive_seed(config.seed, person, "order", epoch)).shuffle(order)
        out += [tuple(order[i : i + config.batch]) for i in range(0, examples, config.batch)]
        epoch += 1
    return tuple(out[:steps])


def count_steps(examples: int, config: TrainConfig) -> int:
    """How many steps a person with so many examples is trained."""
    return config.steps or config.epochs * _count_epoch_steps(examples, config)


def count_items(examples: int, config: TrainConfig) -> int:
    """How many examples all their batches have together."""
    epochs, rest = divmod(count_steps(examples, config), _count_epoch_steps(examples, config))
    return epochs * examples + rest * config.batch


def _count_epoch_steps(examples: int, config: TrainConfig) -> int:
    return -(-examples // config.batch)


def compute_learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """The learning rate of a step (counted from 0): a linear rise, then a linear fall.

    Neither end is 0, unlike the usual scheduler: with a dozen steps a person, a step at rate 0
    would be a twelfth of the training thrown away.
    """
    rise = int(config.warmup * steps)
    if step < rise:
        return config.rate * (step + 1) / (rise + 1)
    return config.rate * (steps - step) / (steps - rise)
