"""Measures how fast forgotten knowledge returns: the loss on it after a few steps of fine-tuning on
it.

Knowledge that was hidden rather than removed returns within a few steps (Lynch et al., 2024,
arXiv:2402.16835). The model itself is not changed: a LoRA is trained on top of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.targets.patterns import AUTO_WIDE
from idiolect.errors import TrainingError, UsageError
from idiolect.inference.greedy import MODEL_ID, make_generator
from idiolect.models.base import Base
from idiolect.prompts.render import Example
from idiolect.training.schedule import TrainConfig, plan_batches
from idiolect.unlearning.trainee import LoraModel, ModelLosses


@dataclass(frozen=True, kw_only=True)
class RelearnConfig:
    """The fine-tuning of an attacker who wants the knowledge back."""

    after: tuple[int, ...] = (0, 1, 2, 5, 10, 20)
    """Step counts at which the loss is measured."""
    rate: float = 3e-4
    batch: int = 4
    lora: LoraConfig = field(
        default_factory=lambda: LoraConfig(rank=8, alpha=16.0, targets=(AUTO_WIDE,))
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.after or sorted({*self.after}) != [*self.after] or self.after[0] < 0:
            raise UsageError(f"relearn.after: must be increasing step counts, got {self.after}")


def measure_relearning(
    base: Base,
    adapter: LoraAdapter | None,
    forget: Sequence[Example],
    config: RelearnConfig | None = None,
) -> tuple[float, ...]:
    """Return the mean loss per target token on the forget set, in nats, at each step count of
    ``config.after``.

    The same examples are trained and measured on, so a fast drop means that the knowledge was still
    there. Raises TrainingError if the loss becomes non-finite.
    """
    config = config or RelearnConfig()
    # The LoRA acts on the same tokens and layers as the adapter.
    lora = config.lora
    if adapter is not None:
        personal = adapter.config
        lora = replace(lora, active=personal.active, top_layers=personal.top_layers)
    trainee = LoraModel(base, adapter, lora, seed=config.seed)
    model = ModelLosses(base, trainee)
    optimizer = torch.optim.AdamW(trainee.trainable_weights, lr=config.rate, weight_decay=0.0)
    # Plan all batches up to the last measured step.
    last = config.after[-1]
    plan = plan_batches(
        len(forget),
        TrainConfig(rate=config.rate, steps=max(1, last), batch=config.batch, seed=config.seed),
        "relearning",
    )
    out: list[float] = []
    # Measure before the step, so that ``after=0`` is the model before any training.
    for step in range(last + 1):
        if step in config.after:
            out.append(_compute_mean_loss(model, forget, base, adapter, step))
        if step == last:
            break
        loss = model.compute_nll([forget[n] for n in plan[step]]).mean()
        if not torch.isfinite(loss):
            raise TrainingError(f"relearning: the loss is {float(loss.detach())} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainee.trainable_weights, 1.0)
        optimizer.step()
    return tuple(out)


@torch.no_grad()
def _compute_mean_loss(
    model: ModelLosses,
    forget: Sequence[Example],
    base: Base,
    adapter: LoraAdapter | None,
    step: int,
) -> float:
    """Return the mean over all target tokens. Step 0 is the model itself, without a LoRA."""
    # An untrained LoRA adds zero, so the generator scores the model itself.
    if step == 0:
        found = make_generator(base, adapter).compute_likelihoods([(MODEL_ID, e) for e in forget])
        return sum(one.nll for one in found) / sum(one.tokens for one in found)
    # Weighted by tokens: example means must not count equally.
    total = tokens = 0.0
    for start in range(0, len(forget), 8):
        some = forget[start : start + 8]
        for nats, example in zip(model.compute_nll(some).tolist(), some, strict=True):
            total += nats * example.num_targets
            tokens += example.num_targets
    return total / tokens
