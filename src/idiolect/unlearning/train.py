"""Stage 1 of unlearning: minimizes a method's loss over a new delta. Simple code that trains one
delta at a time.

The result stays in memory. For a method that negates, the base plus the delta is the harmful model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.targets.patterns import AUTO_WIDE
from idiolect.errors import TrainingError, UsageError
from idiolect.events import Listener, Metrics, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import prepack_base
from idiolect.prompts.render import PromptConfig
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches
from idiolect.unlearning.examples import ForgetRetainSets, StepBatch
from idiolect.unlearning.methods.protocol import LossModel, UnlearningMethod
from idiolect.unlearning.methods.sku import Sku
from idiolect.unlearning.subspace import project_out_retain
from idiolect.unlearning.trainee import Delta, FullModel, LoraModel, ModelLosses, TrainableModel


@dataclass(frozen=True, kw_only=True)
class DeltaConfig:
    """How a delta is trained, the same for all methods."""

    parameters: Literal["lora", "full"] = "lora"
    """A LoRA, or all weights (base models only, in float32, with a learning rate about a
    hundredth)."""
    lora: LoraConfig = field(
        default_factory=lambda: LoraConfig(rank=8, alpha=16.0, targets=(AUTO_WIDE,))
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            rate=Sku.rate, steps=Sku.steps, batch=4, weight_decay=0.0
        )
    )
    """A step takes ``batch`` items of the forget set. Other methods have other rates: see
    ``UnlearnConfig.with_method_defaults``."""
    retain_batch: int = 8
    """Items of the retain set per step."""
    spare: int = 32
    """Number of input directions per module that are projected out of the delta because retain text
    uses them, at most an eighth of the module's width. 0 turns this off. Not applied to methods
    that train on retain answers."""
    prompt: PromptConfig = field(default_factory=PromptConfig)
    answer_tokens: int = 96
    """Answers are truncated after this number of tokens; the beginning of an answer decides the
    rest."""

    def __post_init__(self) -> None:
        if self.answer_tokens < 1:
            raise UsageError(f"answer_tokens: must be at least 1, got {self.answer_tokens}")
        if self.retain_batch < 1:
            raise UsageError(f"retain_batch: must be at least 1, got {self.retain_batch}")
        if self.spare < 0:
            raise UsageError(f"spare: must be 0 (off) or more, got {self.spare}")
        if self.lora.dropout:
            raise UsageError(f"lora.dropout: must be 0 in unlearning, got {self.lora.dropout}")
        if self.train.patience:
            raise UsageError("train.patience: unlearning has no early stopping; leave it 0")


@dataclass(frozen=True, kw_only=True)
class TrainedDelta:
    """A trained delta with a summary of its training."""

    delta: Delta
    steps: int
    first_loss: float
    last_loss: float


def train_on_sets(
    base: Base,
    adapter: LoraAdapter | None,
    sets: ForgetRetainSets,
    method: UnlearningMethod,
    config: DeltaConfig,
    *,
    listener: Listener = null_listener,
) -> TrainedDelta:
    """Train a method's delta on a base, or on top of a person's adapter on it.

    Raises UsageError if an adapter is to be unlearned with all weights, and TrainingError if the
    loss becomes non-finite.
    """
    trainee = _build_trainable(base, adapter, config)
    model, train = ModelLosses(base, trainee), config.train
    optimizer = torch.optim.AdamW(
        trainee.trainable_weights,
        lr=train.rate,
        betas=(train.beta1, train.beta2),
        eps=train.epsilon,
        weight_decay=train.weight_decay,
    )
    # All batches are planned first: the learning rate schedule needs the number of steps.
    batches = list(_iter_batches(sets, config))
    losses: list[float] = []
    for batch in batches:
        optimizer.param_groups[0]["lr"] = compute_learning_rate(batch.step, len(batches), train)
        optimizer.zero_grad()
        # Each term runs backward separately, so only one graph is in memory at a time.
        terms = _accumulate_gradients(base, method, model, batch)
        torch.nn.utils.clip_grad_norm_(trainee.trainable_weights, train.clip)
        optimizer.step()
        losses.append(sum(terms.values()))
        values = {"step": batch.step, "loss": losses[-1], **terms}
        listener(Metrics(stage="unlearn", values=values))
        listener(Progress(stage="unlearn", done=batch.step + 1, total=len(batches)))
    # Only the finished delta is projected; training itself is unconstrained.
    return TrainedDelta(
        delta=_finish_delta(base, trainee, sets, method, config),
        steps=len(losses),
        first_loss=losses[0],
        last_loss=losses[-1],
    )


def _finish_delta(
    base: Base,
    trainee: TrainableModel,
    sets: ForgetRetainSets,
    method: UnlearningMethod,
    config: DeltaConfig,
) -> Delta:
    """Export the trained delta and project retain directions out of it, if the method allows
    that."""
    delta = trainee.export_delta()
    if not (config.spare and method.projects_out_retain):
        return delta
    # The inputs are recorded in the model before training, on the retain set that was trained on.
    retain = [item.example for item in sets.retain]
    with prepack_base(base):
        return project_out_retain(
            base, trainee, delta, retain, config.spare, seed=config.train.seed
        )


def _accumulate_gradients(
    base: Base, method: UnlearningMethod, model: LossModel, batch: StepBatch
) -> dict[str, float]:
    """Run backward for each loss term of a step, and return the terms' values by name."""
    terms: dict[str, float] = {}
    with prepack_base(base):
        for name, term in method.iter_loss_terms(model, batch):
            term.backward()
            terms[name] = float(term.detach())
    # A non-finite loss would silently turn all weights into NaN in the next step.
    loss = sum(terms.values())
    if not math.isfinite(loss):
        raise TrainingError(
            f"{method.title}: the loss is {loss} at step {batch.step}; lower train.rate or "
            "train.steps"
        )
    return terms


def _build_trainable(
    base: Base, adapter: LoraAdapter | None, config: DeltaConfig
) -> TrainableModel:
    """Create what is trained. A LoRA on top of a person's adapter acts on the same tokens and
    layers as that adapter."""
    if config.parameters == "lora":
        lora = config.lora
        # With other tokens or layers, adapter and delta could not be stored as one adapter.
        if adapter is not None:
            theirs = adapter.check_matches_base(base).config
            lora = replace(lora, active=theirs.active, top_layers=theirs.top_layers)
        return LoraModel(base, adapter, lora, seed=config.train.seed)
    if adapter is not None:
        raise UsageError("parameters 'full': an adapter can only be unlearned with a LoRA ('lora')")
    return FullModel(base)


def _iter_batches(sets: ForgetRetainSets, config: DeltaConfig) -> Iterator[StepBatch]:
    """Yield the data of each step. The retain set repeats as often as the steps need it."""
    train = config.train
    forgotten = plan_batches(len(sets.forget), train, "forget")
    # Retain batches have their own size, and cycle through the set in a seeded order.
    retain_config = replace(train, steps=len(forgotten), batch=config.retain_batch)
    retained = plan_batches(len(sets.retain), retain_config, "retain")
    for step, (forget, retain) in enumerate(zip(forgotten, retained, strict=True)):
        yield StepBatch(
            sets=sets, forget_indices=forget, retain_indices=retain, seed=train.seed, step=step
        )
