"""Knowledge taken out of a base or of a person's adapter, in memory: train, choose a scale, apply.

Knows no files; ``publish.py`` writes what comes out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from idiolect.adapters.arithmetic.truncate import truncate_rank
from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.config import to_plain
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.models.device import DtypeName
from idiolect.prompt_sets.pairs import K, Pair
from idiolect.prompt_sets.split import require_disjoint, split_by_prompt
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.unlearning.examples import ForgetRetainSets, TokenizedPair, tokenize_pairs
from idiolect.unlearning.methods.protocol import UnlearningMethod
from idiolect.unlearning.methods.registry import MethodSettings
from idiolect.unlearning.scale_search import (
    MAX_SCALE,
    ScaleChoice,
    check_given_scale,
    find_largest_scale,
)
from idiolect.unlearning.task_arithmetic import apply_delta, signed_factor
from idiolect.unlearning.train import DeltaConfig, train_on_sets
from idiolect.unlearning.trainee import Delta

MAX_MEASURED_PAIRS = 128
"""Pairs, at most, on which perplexity and forgetting are measured."""


@dataclass(frozen=True, kw_only=True)
class UnlearnConfig(DeltaConfig, MethodSettings):
    """Which method, how its delta is trained, and how far the model moves along it."""

    method: str = "sku"
    scale: float | None = None
    """How much of the delta is applied; ``None``: the largest that ``retain_bound`` allows (at most
    what was trained, for a method that keeps its delta)."""
    retain_bound: float = 1.05
    """How many times its value the perplexity on held-out retain text may become."""
    guard: float = 1.5
    """The same for a scale that was asked for: beyond it nothing is written."""
    held_out: float = 0.2
    """Share of the retain set's prompts that is measured on and not trained on."""
    dtype: DtypeName = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.get_method(self.method)
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise UsageError(f"scale: must be above 0, or auto, got {self.scale}")
        for name in ("retain_bound", "guard"):
            if not 1 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out: must be between 0 and 1, got {self.held_out}")

    @classmethod
    def with_method_defaults(cls, method: str) -> UnlearnConfig:
        """The defaults with a method's own rate and steps; raises UsageError for an unknown one."""
        plain = cls(method=method)
        own = {"rate": plain.selected_method.rate, "steps": plain.selected_method.steps}
        return replace(plain, train=replace(plain.train, **own))

    @property
    def selected_method(self) -> UnlearningMethod:
        """The method with its settings."""
        return self.get_method(self.method)

    @property
    def effective_settings(self) -> dict[str, Any]:
        """The settings that took part, plain: those of the other methods are left out."""
        others = {
            name for name in to_plain(MethodSettings()) if name != self.method.replace("-", "_")
        }
        return {name: value for name, value in to_plain(self).items() if name not in others}


@dataclass(frozen=True, kw_only=True)
class Perplexities:
    """What a model is like on both sets; perplexities a token."""

    retain_perplexity: float
    """On held-out retain pairs."""
    forget_perplexity: float
    """On the forget set's answers."""


@dataclass(frozen=True, kw_only=True)
class UnlearnResult:
    """What came of unlearning, in memory. Whoever has the delta has the model that must not be."""

    base: Base
    adapter: LoraAdapter | None
    """The model after unlearning: an adapter on the base, or a changed base alone."""
    delta: Delta
    scale: float
    factor: float
    """What the delta was multiplied with: minus the scale where it was negated."""
    before: Perplexities
    after: Perplexities
    steps: int
    first_loss: float
    last_loss: float
    seconds: float


def unlearn(
    base: Base,
    adapter: LoraAdapter | None,
    forget: Sequence[Pair],
    retain: Sequence[Pair],
    config: UnlearnConfig,
    *,
    listener: Listener = null_listener,
) -> UnlearnResult:
    """Take what the forget set says out of a base, or out of a person's adapter on it.

    The base is never written to. Raises UsageError for empty or overlapping sets and for a scale
    that breaks the model, TrainingError where training does not stay finite.
    """
    prompter = PromptRenderer(base.tokenizer, config.prompt)
    going, staying = (
        tokenize_pairs(prompter, pairs, answer_tokens=config.answer_tokens)
        for pairs in (forget, retain)
    )
    return unlearn_items(base, adapter, going, staying, config, listener=listener)


def unlearn_items(
    base: Base,
    adapter: LoraAdapter | None,
    forget: Sequence[TokenizedPair],
    retain: Sequence[TokenizedPair],
    config: UnlearnConfig,
    *,
    shape: Callable[[LoraAdapter], LoraAdapter] | None = None,
    listener: Listener = null_listener,
) -> UnlearnResult:
    """The same of sets that are tokens already.

    ``shape``: what becomes of an adapter that comes out, at every scale that is tried; it is the
    shaped one that keeps within the bounds, and is measured.
    """
    started = time.monotonic()
    method, given = config.selected_method, _prepare_sets(forget, retain, config)
    listener(
        Message(
            text=f"{method.title}: {len(forget):,} pairs to forget, {len(given.sets.retain):,} to "
            f"retain, {len(given.holdout_examples):,} more to measure on"
        )
    )
    before = given.measure_perplexities(base, adapter)
    trained = train_on_sets(base, adapter, given.sets, method, config, listener=listener)

    def model_at(scale: float) -> tuple[Base, LoraAdapter | None]:
        model, beside = apply_delta(base, adapter, trained.delta, signed_factor(method, scale))
        return model, (shape(beside) if shape is not None and beside is not None else beside)

    def measure_cost(scale: float) -> float:
        cost = (
            compute_perplexity(*model_at(scale), given.holdout_examples) / before.retain_perplexity
        )
        listener(Message(text=f"scale {scale:.3g}: retain perplexity {cost:.3f} times what it was"))
        return cost

    chosen = _choose_scale(measure_cost, config)
    new_base, new_adapter = model_at(chosen.scale)
    return UnlearnResult(
        base=new_base,
        adapter=new_adapter,
        delta=trained.delta,
        scale=chosen.scale,
        factor=signed_factor(method, chosen.scale),
        before=before,
        after=given.measure_perplexities(new_base, new_adapter),
        steps=trained.steps,
        first_loss=trained.first_loss,
        last_loss=trained.last_loss,
        seconds=time.monotonic() - started,
    )


def unlearn_adapter(
    base: Base,
    adapter: Adapter,
    forget: Sequence[TokenizedPair],
    retain: Sequence[TokenizedPair],
    config: UnlearnConfig,
    *,
    listener: Listener = null_listener,
) -> UnlearnResult:
    """Take what the forget set says out of an adapter, and keep its settings: rank and modules.

    Raises as ``unlearn``, and MismatchError for an adapter that is not LoRA.
    """
    own = require_lora(adapter)
    # A delta on other modules, or of a higher rank in sum, would not fit into what is stored.
    config = replace(config, lora=replace(config.lora, targets=own.config.targets))
    shape = partial(truncate_rank, config=own.config)
    return unlearn_items(base, own, forget, retain, config, shape=shape, listener=listener)


@dataclass(frozen=True, kw_only=True)
class _PreparedSets:
    """Both sets as tokens: what is trained on, and what is measured on."""

    sets: ForgetRetainSets
    holdout_examples: tuple[Example, ...]
    """Of the retain set, not trained on."""
    forget_examples: tuple[Example, ...]
    """Of the forget set."""

    def measure_perplexities(self, base: Base, adapter: LoraAdapter | None) -> Perplexities:
        """What a model is like on both."""
        return Perplexities(
            retain_perplexity=compute_perplexity(base, adapter, self.holdout_examples),
            forget_perplexity=compute_perplexity(base, adapter, self.forget_examples),
        )


def _prepare_sets(
    forget: Sequence[TokenizedPair], retain: Sequence[TokenizedPair], config: UnlearnConfig
) -> _PreparedSets:
    require_disjoint(forget, retain)
    measured, trained_on = _split_holdout(retain, config)
    return _PreparedSets(
        sets=ForgetRetainSets(tuple(forget), trained_on),
        holdout_examples=tuple(item.example for item in measured),
        forget_examples=tuple(
            item.example for item in cap_measured_pairs(forget, config.train.seed)
        ),
    )


def _choose_scale(cost_at: Callable[[float], float], config: UnlearnConfig) -> ScaleChoice:
    """The scale that was asked for, or the largest; a kept delta goes no further than trained."""
    if config.scale is not None:
        return check_given_scale(cost_at, config.scale, config.guard)
    most = MAX_SCALE if config.selected_method.direction == "negate" else 1.0
    return find_largest_scale(cost_at, config.retain_bound, most=most)


def compute_perplexity(
    base: Base, adapter: LoraAdapter | None, examples: Sequence[Example]
) -> float:
    """exp of the mean negative log likelihood a target token, over all of them; infinite where it
    is more than a float holds."""
    whose = {} if adapter is None else {"it": adapter}
    with prepack_linear(base.model):
        found = Generator(base, whose).compute_likelihoods(
            [("it", example) for example in examples]
        )
    mean = sum(one.nll for one in found) / sum(one.tokens for one in found)
    return math.exp(mean) if mean < 700 else math.inf


def _split_holdout(
    retain: Sequence[K], config: UnlearnConfig
) -> tuple[tuple[K, ...], tuple[K, ...]]:
    """Retain pairs to measure on, and to train on; no prompt is among both."""
    prompts = len({pair.key for pair in retain})
    if prompts < 2:
        raise UsageError("the retain set has a single prompt; at least two are needed")
    share = min(max(config.held_out, 1 / prompts), 1 - 1 / prompts)
    measured, rest = split_by_prompt(retain, share, seed=config.train.seed, purpose="held out")
    return cap_measured_pairs(measured, config.train.seed), rest


def cap_measured_pairs(pairs: Sequence[K], seed: int) -> tuple[K, ...]:
    """All pairs, or those of so many seeded prompts that they are about ``MEASURED``."""
    if len(pairs) <= MAX_MEASURED_PAIRS:
        return tuple(pairs)
    some, _ = split_by_prompt(pairs, MAX_MEASURED_PAIRS / len(pairs), seed=seed, purpose="measured")
    return (some or tuple(pairs))[:MAX_MEASURED_PAIRS]
