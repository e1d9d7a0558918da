"""Stage 1 of every method: its loss, minimised over a fresh delta. Obvious code, one delta at once.

What comes out stays in memory: for the methods that negate it is the model that must not be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import TrainingError, UsageError
from idiolect.events import Listener, Metrics, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.prompts.render import PromptConfig
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches
from idiolect.unlearning.examples import ForgetRetainSets, StepBatch
from idiolect.unlearning.methods.protocol import LossModel, UnlearningMethod
from idiolect.unlearning.methods.sku import Sku
from idiolect.unlearning.subspace import project_out_retain
from idiolect.unlearning.trainee import Delta, FullModel, LoraModel, ModelLosses, TrainableModel


@dataclass(frozen=True, kw_only=True)
class DeltaConfig:
    """How a delta is trained, the same for every method."""

    parameters: Literal["lora", "full"] = "lora"
    """A LoRA, or all weights (of a base; in float32, and with a rate about a hundredth)."""
    lora: LoraConfig = field(
        default_factory=lambda: LoraConfig(
            rank=8, alpha=16.0, targets=("q_proj", "v_proj", "o_proj", "down_proj")
        )
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            rate=Sku.rate, steps=Sku.steps, batch=4, weight_decay=0.0
        )
    )
    """A step takes ``batch`` items of the forget set. Other methods have rates of their own:
    ``UnlearnConfig.usual``."""
    retain_batch: int = 8
    """Items of the retain set that a step takes."""
    spare: int = 32
    """Directions of each module's inputs on retain text that the delta is kept off, at most an
    eighth of all; 0 leaves that out. For methods that do not answer with retain answers."""
    prompt: PromptConfig = field(default_factory=PromptConfig)
    answer_tokens: int = 96
    """Answers are cut after so many tokens: what is said first decides what is said."""

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
            raise UsageError("train.patience: unlearning trains all its steps; leave it 0")


@dataclass(frozen=True, kw_only=True)
class TrainedDelta:
    """A delta, and how its training went."""

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
    """Train a method's delta on a base, or beside a person's adapter on it.

    Raises UsageError where an adapter is to be unlearned with all weights, TrainingError where the
    loss is not finite.
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
    draws = list(_iter_batches(sets, config))
    losses: list[float] = []
    for draw in draws:
        optimizer.param_groups[0]["lr"] = compute_learning_rate(draw.step, len(draws), train)
        optimizer.zero_grad()
        terms = _accumulate_gradients(base, method, model, draw)
        torch.nn.utils.clip_grad_norm_(trainee.trainable_weights, train.clip)
        optimizer.step()
        losses.append(sum(terms.values()))
        values = {"step": draw.step, "loss": losses[-1], **terms}
        listener(Metrics(stage="unlearn", values=values))
        listener(Progress(stage="unlearn", done=draw.step + 1, total=len(draws)))
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
    """What was trained, kept off what retain text needs."""
    made = trainee.export_delta()
    if not (config.spare and method.projects_out_retain):
        return made
    retain = [item.example for item in sets.retain]
    with prepack_linear(base.model):
        return project_out_retain(base, trainee, made, retain, config.spare, seed=config.train.seed)


def _accumulate_gradients(
    base: Base, method: UnlearningMethod, model: LossModel, draw: StepBatch
) -> dict[str, float]:
    """Add up the gradients of a step's terms, one after the other; gives their values."""
    terms: dict[str, float] = {}
    with prepack_linear(base.model):
        for name, term in method.iter_loss_terms(model, draw):
            term.backward()
            terms[name] = float(term.detach())
    loss = sum(terms.values())
    if not math.isfinite(loss):
        raise TrainingError(
            f"{method.title}: the loss is {loss} at step {draw.step}; lower train.rate or "
            "train.steps"
        )
    return terms


def _build_trainable(
    base: Base, adapter: LoraAdapter | None, config: DeltaConfig
) -> TrainableModel:
    """A fresh LoRA acts on the tokens and layers on which the person's adapter does."""
    if config.parameters == "lora":
        lora = config.lora
        if adapter is not None:
            theirs = adapter.check_matches_base(base).config
            lora = replace(lora, active=theirs.active, top_layers=theirs.top_layers)
        return LoraModel(base, adapter, lora, seed=config.train.seed)
    if adapter is not None:
        raise UsageError("parameters 'full': an adapter is unlearned with another one ('lora')")
    return FullModel(base)


def _iter_batches(sets: ForgetRetainSets, config: DeltaConfig) -> Iterator[StepBatch]:
    """What every step sees; the retain set comes round as often as the steps need it."""
    train = config.train
    forgotten = plan_batches(len(sets.forget), train, "forget")
    beside = replace(train, steps=len(forgotten), batch=config.retain_batch)
    retained = plan_batches(len(sets.retain), beside, "retain")
    for step, (some, others) in enumerate(zip(forgotten, retained, strict=True)):
        yield StepBatch(
            sets=sets, forget_indices=some, retain_indices=others, seed=train.seed, step=step
        )
