"""One person's training schedule: settings, batches, and the learning rate of each step.

No model is involved. Everything follows from (seed, person, number of examples).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from idiolect.config import derive_seed
from idiolect.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one person's training, the same for all people of a run.

    A step is one batch of ``batch`` items; its loss is the token mean over the batch. The OPPU
    paper's settings for a 7B model are rate 1e-4, batch 16, clip 0.3, 2 epochs. On the 135M base
    these change little, and a few large steps are worse than more small steps
    (docs/notes/defaults.md).
    """

    rate: float = 2e-3
    """Peak learning rate."""
    epochs: int = 2
    steps: int | None = None
    """Number of steps for each person, cycling over the items; ``None``: whole epochs."""
    batch: int = 8
    weight_decay: float = 1e-2
    clip: float = 1.0
    """Maximum gradient norm of one person's step."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    patience: int = 0
    """Stop after this many epochs in a row without a lower loss on the person's held-out items, and
    return the best epoch's adapter. 0: train all epochs."""
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
            raise UsageError(
                "train.patience counts epochs: set train.patience or train.steps, not both"
            )
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"train.{name}: must be in [0, 1), got {getattr(self, name)}")


def plan_batches(examples: int, config: TrainConfig, person: str) -> tuple[tuple[int, ...], ...]:
    """Return the example numbers of each step's batch; each epoch has its own seeded order."""
    out: list[tuple[int, ...]] = []
    steps = count_steps(examples, config)
    epoch = 0
    while len(out) < steps:
        # The order depends on seed, person and epoch only, not on other people.
        order = list(range(examples))
        random.Random(derive_seed(config.seed, person, "order", epoch)).shuffle(order)
        out += [tuple(order[i : i + config.batch]) for i in range(0, examples, config.batch)]
        epoch += 1
    return tuple(out[:steps])


def count_steps(examples: int, config: TrainConfig) -> int:
    """Return the number of steps for a person with this number of examples."""
    return config.steps or config.epochs * _count_epoch_steps(examples, config)


def count_items(examples: int, config: TrainConfig) -> int:
    """Return the number of examples in all batches of a person together."""
    epochs, rest = divmod(count_steps(examples, config), _count_epoch_steps(examples, config))
    return epochs * examples + rest * config.batch


def _count_epoch_steps(examples: int, config: TrainConfig) -> int:
    """Return the number of batches in one epoch; the last may be smaller."""
    return -(-examples // config.batch)


def compute_learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step (counted from 0): linear warmup, then linear decay.

    Unlike in the usual scheduler, neither end is 0: a person may have only a dozen steps, and a
    step with rate 0 would waste a twelfth of the training.
    """
    # Warmup takes the first ``rise`` steps.
    rise = int(config.warmup * steps)
    if step < rise:
        return config.rate * (step + 1) / (rise + 1)
    return config.rate * (steps - step) / (steps - rise)
