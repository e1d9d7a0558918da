"""Unlearns a base or a person's adapter in memory: trains a delta, chooses a scale, applies it.

Reads and writes no files; ``output.py`` writes the result.
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
from idiolect.models.cpu.prepacked_linear import prepack_base
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
"""Upper limit on the pairs that perplexity and forgetting are measured on."""


@dataclass(frozen=True, kw_only=True)
class UnlearnConfig(DeltaConfig, MethodSettings):
    """The method, how its delta is trained, and how much of the delta is applied."""

    method: str = "sku"
    scale: float | None = None
    """How much of the delta is applied. ``None`` finds the largest scale within ``retain_bound``
    (at most 1 for a method that keeps its delta)."""
    retain_bound: float = 1.05
    """Upper limit on the perplexity on held-out retain text, relative to its value before."""
    guard: float = 1.5
    """The same limit for an explicit ``scale``. If it is exceeded, nothing is written."""
    held_out: float = 0.2
    """Fraction of the retain set's prompts that is measured on and not trained on."""
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
        """Return the defaults with the method's own learning rate and steps. Raises UsageError if
        the method is unknown."""
        plain = cls(method=method)
        own = {"rate": plain.selected_method.rate, "steps": plain.selected_method.steps}
        return replace(plain, train=replace(plain.train, **own))

    @property
    def selected_method(self) -> UnlearningMethod:
        """The method with its settings."""
        return self.get_method(self.method)

    @property
    def effective_settings(self) -> dict[str, Any]:
        """The settings that affect the result, as plain data; settings of the other methods are
        left out."""
        # A method's settings are stored under its name, with ``_`` for ``-``.
        others = {
            name for name in to_plain(MethodSettings()) if name != self.method.replace("-", "_")
        }
        return {name: value for name, value in to_plain(self).items() if name not in others}


@dataclass(frozen=True, kw_only=True)
class Perplexities:
    """A model's perplexity per token on both sets."""

    retain_perplexity: float
    """On held-out retain pairs."""
    forget_perplexity: float
    """On the forget set's answers."""


@dataclass(frozen=True, kw_only=True)
class UnlearnResult:
    """The result of unlearning, in memory. Do not publish ``delta``: for a method that negates, the
    base plus the delta is the harmful model."""

    base: Base
    adapter: LoraAdapter | None
    """The model after unlearning is this adapter on ``base``, or a changed ``base`` alone if
    ``None``."""
    delta: Delta
    scale: float
    factor: float
    """The factor applied to the delta: the scale, negative if the method negates."""
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
    """Remove what the forget set says from a base, or from a person's adapter on it.

    The base is never modified. Raises UsageError if a set is empty, if the sets overlap, or if the
    scale breaks the model, and TrainingError if the loss becomes non-finite.
    """
    prompter = PromptRenderer(base.tokenizer, config.prompt)
    forget_items, retain_items = (
        tokenize_pairs(prompter, pairs, answer_tokens=config.answer_tokens)
        for pairs in (forget, retain)
    )
    return unlearn_items(base, adapter, forget_items, retain_items, config, listener=listener)


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
    """Like ``unlearn``, for sets that are already tokenized.

    ``shape`` post-processes the resulting adapter at every scale that is tried (for example,
    truncates its rank). Bounds and measurements apply to the processed adapter.
    """
    started = time.monotonic()
    method, prepared = config.selected_method, _prepare_sets(forget, retain, config)
    listener(
        Message(
            text=f"{method.title}: {len(forget):,} pairs to forget, "
            f"{len(prepared.sets.retain):,} to retain, "
            f"{len(prepared.holdout_examples):,} more to measure on"
        )
    )
    # Perplexities before training are the reference for every scale.
    before = prepared.measure_perplexities(base, adapter)
    # Stage 1: train the delta on top of the frozen model.
    trained = train_on_sets(base, adapter, prepared.sets, method, config, listener=listener)

    # Stage 2: apply the delta at different scales and measure what each one costs on retain text.
    def model_at(scale: float) -> tuple[Base, LoraAdapter | None]:
        model, combined = apply_delta(base, adapter, trained.delta, signed_factor(method, scale))
        if shape is not None and combined is not None:
            combined = shape(combined)
        return model, combined

    def measure_cost(scale: float) -> float:
        cost = (
            compute_perplexity(*model_at(scale), prepared.holdout_examples)
            / before.retain_perplexity
        )
        listener(Message(text=f"scale {scale:.3g}: retain perplexity {cost:.3f} times the former"))
        return cost

    # The chosen model is rebuilt, because candidates are not kept in memory.
    chosen = _choose_scale(measure_cost, config)
    new_base, new_adapter = model_at(chosen.scale)
    return UnlearnResult(
        base=new_base,
        adapter=new_adapter,
        delta=trained.delta,
        scale=chosen.scale,
        factor=signed_factor(method, chosen.scale),
        before=before,
        after=prepared.measure_perplexities(new_base, new_adapter),
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
    """Remove what the forget set says from an adapter, and keep the adapter's rank and target
    modules.

    Raises the same errors as ``unlearn``, and MismatchError if the adapter is not LoRA.
    """
    own = require_lora(adapter)
    # A delta on other modules, or of a higher rank in sum, would not fit into what is stored.
    config = replace(config, lora=replace(config.lora, targets=own.config.targets))
    shape = partial(truncate_rank, config=own.config)
    return unlearn_items(base, own, forget, retain, config, shape=shape, listener=listener)


@dataclass(frozen=True, kw_only=True)
class _PreparedSets:
    """Tokenized sets, split into what is trained on and what is measured on."""

    sets: ForgetRetainSets
    holdout_examples: tuple[Example, ...]
    """Retain examples that are not trained on."""
    forget_examples: tuple[Example, ...]
    """Forget examples to measure on; they are trained on as well."""

    def measure_perplexities(self, base: Base, adapter: LoraAdapter | None) -> Perplexities:
        """Measure a model's perplexity on both sets."""
        return Perplexities(
            retain_perplexity=compute_perplexity(base, adapter, self.holdout_examples),
            forget_perplexity=compute_perplexity(base, adapter, self.forget_examples),
        )


def _prepare_sets(
    forget: Sequence[TokenizedPair], retain: Sequence[TokenizedPair], config: UnlearnConfig
) -> _PreparedSets:
    """Split the retain set, and collect the examples to measure on."""
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
    """Check the explicit scale, or search for the largest one. For a kept delta the search stops at
    1, the trained model."""
    if config.scale is not None:
        return check_given_scale(cost_at, config.scale, config.guard)
    most = MAX_SCALE if config.selected_method.direction == "negate" else 1.0
    return find_largest_scale(cost_at, config.retain_bound, most=most)


def compute_perplexity(
    base: Base, adapter: LoraAdapter | None, examples: Sequence[Example]
) -> float:
    """Return exp of the mean negative log-likelihood per target token over all examples, or
    infinity if that overflows a float."""
    adapters = {} if adapter is None else {"it": adapter}
    with prepack_base(base):
        found = Generator(base, adapters).compute_likelihoods(
            [("it", example) for example in examples]
        )
    # exp overflows a float from about 709 on.
    mean = sum(one.nll for one in found) / sum(one.tokens for one in found)
    return math.exp(mean) if mean < 700 else math.inf


def _split_holdout(
    retain: Sequence[K], config: UnlearnConfig
) -> tuple[tuple[K, ...], tuple[K, ...]]:
    """Split retain pairs into those to measure on and those to train on. No prompt is in both."""
    prompts = len({pair.key for pair in retain})
    if prompts < 2:
        raise UsageError("the retain set has a single prompt; at least two are needed")
    # Both parts get at least one prompt.
    share = min(max(config.held_out, 1 / prompts), 1 - 1 / prompts)
    measured, rest = split_by_prompt(retain, share, seed=config.train.seed, purpose="held out")
    return cap_measured_pairs(measured, config.train.seed), rest


def cap_measured_pairs(pairs: Sequence[K], seed: int) -> tuple[K, ...]:
    """Return all pairs, or the pairs of a seeded sample of prompts if there are more than
    ``MAX_MEASURED_PAIRS``."""
    if len(pairs) <= MAX_MEASURED_PAIRS:
        return tuple(pairs)
    some, _ = split_by_prompt(pairs, MAX_MEASURED_PAIRS / len(pairs), seed=seed, purpose="measured")
    return (some or tuple(pairs))[:MAX_MEASURED_PAIRS]
