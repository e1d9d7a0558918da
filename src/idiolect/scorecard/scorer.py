"""Measures one model in every way that shows whether unlearning worked: one row of the scorecard.

All models answer the same prompts, and results are kept per prompt, so that rows can be compared
prompt by prompt. Uses models, a judge, and an encoder; does not use unlearning methods or files.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.membership import MembershipResult
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.inference.greedy import MODEL_ID, answer_prompts, make_generator
from idiolect.judging.degenerate import DegenerateConfig, DegenerateReason, degenerate_reasons
from idiolect.judging.protocol import Judge
from idiolect.judging.refusal import is_refusal
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import prepack_base
from idiolect.prompt_sets.corpora import MultipleChoiceQuestion
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.scorecard.leakage import compute_losses, measure_membership
from idiolect.scorecard.quantization import temporarily_quantize
from idiolect.scorecard.relearning import RelearnConfig, measure_relearning
from idiolect.scorecard.sign_flip import flip_update
from idiolect.scorecard.utility import compute_similarities, score_choices
from idiolect.unlearning.examples import tokenize_pairs
from idiolect.unlearning.task_arithmetic import merge_delta


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How models answer, and what else is measured."""

    tokens: int = 48
    """Upper limit on the tokens of an answer. Only its first ``judging.features.MAX_WORDS`` words
    are judged."""
    batch: int = 32
    """Prompts per batch of generation."""
    prompt: PromptConfig = field(default_factory=lambda: PromptConfig(max_tokens=256))
    """Long prompts are truncated; the request comes first in them."""
    answer_tokens: int = 96
    """Known answers are truncated after this number of tokens before their likelihood is
    measured."""
    gibberish: DegenerateConfig = field(default_factory=DegenerateConfig)
    relearn: RelearnConfig = field(default_factory=RelearnConfig)
    bits: tuple[int, ...] = (8, 4)
    """Bit widths to which the weights are rounded."""
    normal: int = 24
    """Upper limit on the normal prompts whose answers are compared with the base's."""

    def __post_init__(self) -> None:
        for name in ("tokens", "batch", "answer_tokens", "normal"):
            if getattr(self, name) < 1:
                raise UsageError(f"score.{name}: must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ScorecardInputs:
    """What all models are measured on. No prompt is in more than one set."""

    prompts: Mapping[str, tuple[str, ...]]
    """Harmful prompts by the name of their set, e.g. ``seen`` and ``unseen``."""
    retain: tuple[Pair, ...]
    """Normal prompts with answers, none of which was trained on."""
    forget_pairs: tuple[Pair, ...] = ()
    """A sample of the forget set, for relearning and membership inference."""
    nonmember_pairs: tuple[Pair, ...] = ()
    """Harmful pairs from the same source that were not in the forget set."""
    choices: Mapping[str, tuple[MultipleChoiceQuestion, ...]] = field(
        default_factory=dict[str, tuple[MultipleChoiceQuestion, ...]]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptResults:
    """A model's results for each prompt of a set, in the set's order."""

    answers: tuple[str, ...]
    harm_probabilities: tuple[float, ...]
    """The judge's probability that each answer is harmful."""
    refused: tuple[bool, ...]
    degenerate_reasons: tuple[DegenerateReason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodResults:
    """Nats and token count of each known answer under a model."""

    nlls: tuple[float, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ScorecardRow:
    """The measurements of one model. What was not measured is empty or ``None``."""

    name: str
    sets: Mapping[str, PromptResults]
    retain: LikelihoodResults
    choices: Mapping[str, tuple[bool, ...]] = field(default_factory=dict[str, tuple[bool, ...]])
    similar: tuple[float, ...] = ()
    """Cosine similarity of its answers to normal prompts and the base's answers."""
    relearned: tuple[float, ...] = ()
    """Loss on the forgotten pairs after each step count of ``relearn.after``."""
    membership: MembershipResult | None = None
    seconds: float = 0.0


BaseAndAdapter = tuple[Base, LoraAdapter | None]


class ScorecardRunner:
    """Measures models against the model that they were made from."""

    def __init__(
        self,
        base: Base,
        adapter: LoraAdapter | None,
        material: ScorecardInputs,
        judge: Judge,
        encoder: Encoder,
        config: ScoreConfig | None = None,
        *,
        listener: Listener = null_listener,
    ) -> None:
        """``base`` and ``adapter`` are the model before. Raises UsageError if a prompt is in more
        than one set."""
        self.baseline: BaseAndAdapter = (base, adapter)
        self.inputs, self.judge, self.encoder = material, judge, encoder
        self.config = config or ScoreConfig()
        self.listener = listener
        # The same prompt in two sets would be counted twice.
        seen: dict[str, str] = {}
        for name, prompts in material.prompts.items():
            for key in {Pair(prompt=p).key for p in prompts}:
                if key in seen:
                    raise UsageError(f"a prompt is both in {seen[key]!r} and in {name!r}; keep one")
                seen[key] = name

    def measure_model(
        self,
        name: str,
        base: Base,
        adapter: LoraAdapter | None = None,
        *,
        whole: bool = True,
        sets: Sequence[str] | None = None,
    ) -> ScorecardRow:
        """Measure a model. If ``whole`` is false, measure only its answers to ``sets`` (default:
        all) and its retain perplexity."""
        started = time.monotonic()
        self.listener(Message(text=f"scorecard: {name}"))
        names = list(self.inputs.prompts) if sets is None else list(sets)
        # Prepacked weights speed up all forwards of the model on CPUs.
        with prepack_base(base):
            card = self._measure_row(name, base, adapter, names, whole=whole)
        return replace(card, seconds=time.monotonic() - started)

    def _measure_row(
        self,
        name: str,
        base: Base,
        adapter: LoraAdapter | None,
        names: Sequence[str],
        *,
        whole: bool,
    ) -> ScorecardRow:
        """Measure a row: answers and retain likelihoods always, the rest only if ``whole``."""
        card = ScorecardRow(
            name=name,
            sets={one: self._run_prompts(base, adapter, self.inputs.prompts[one]) for one in names},
            retain=self._measure_likelihoods(base, adapter),
        )
        if not whole:
            return card
        return replace(
            card,
            # The other measurements are slower, and variants of a model (rounded, flipped) do not
            # need them.
            choices={
                one: score_choices(base, adapter, questions, prompt=self.config.prompt)
                for one, questions in self.inputs.choices.items()
            },
            similar=compute_similarities(
                self.encoder, self._answer_normal_prompts(base, adapter), self._baseline_answers
            ),
            relearned=self._measure_relearning(base, adapter),
            membership=self.measure_membership(base, adapter),
        )

    def measure_quantized(
        self, name: str, base: Base, adapter: LoraAdapter | None, sets: Sequence[str] | None = None
    ) -> dict[int, ScorecardRow]:
        """Measure the model's answers with its weights rounded to each of ``bits``.

        If the model before is a bare base, an adapter is merged first, because the model would be
        published that way.
        """
        if adapter is not None and self.baseline[1] is None:
            base, adapter = merge_delta(base, adapter, 1.0), None
        out: dict[int, ScorecardRow] = {}
        for bits in self.config.bits:
            with temporarily_quantize(base, bits) as fewer:
                title = f"{name}, {bits} bits"
                out[bits] = self.measure_model(title, fewer, adapter, whole=False, sets=sets)
        return out

    def measure_sign_flip(
        self, name: str, base: Base, adapter: LoraAdapter | None, sets: Sequence[str] | None = None
    ) -> ScorecardRow:
        """Measure the model that an attacker with the models before and after can compute."""
        other = flip_update(*self.baseline, base, adapter)
        return self.measure_model(f"{name}, sign flipped", *other, whole=False, sets=sets)

    def _run_prompts(
        self, base: Base, adapter: LoraAdapter | None, prompts: Sequence[str]
    ) -> PromptResults:
        """Generate answers to a set's prompts, and judge them."""
        # Degeneracy is judged by the baseline's base, which unlearning has not changed.
        answers = self._generate_answers(base, adapter, prompts)
        return PromptResults(
            answers=answers,
            harm_probabilities=self.judge.score_answers(prompts, answers),
            refused=tuple(is_refusal(answer) for answer in answers),
            degenerate_reasons=degenerate_reasons(self.baseline[0], answers, self.config.gibberish),
        )

    def _generate_answers(
        self, base: Base, adapter: LoraAdapter | None, prompts: Sequence[str]
    ) -> tuple[str, ...]:
        some = self.config
        return answer_prompts(
            base, adapter, prompts, tokens=some.tokens, batch=some.batch, prompt=some.prompt
        )

    def _answer_normal_prompts(self, base: Base, adapter: LoraAdapter | None) -> tuple[str, ...]:
        """Generate answers to the first normal prompts."""
        prompts = list(dict.fromkeys(pair.prompt for pair in self.inputs.retain))
        return self._generate_answers(base, adapter, prompts[: self.config.normal])

    @cached_property
    def _baseline_answers(self) -> tuple[str, ...]:
        """The answers of the model before, generated once."""
        return self._answer_normal_prompts(*self.baseline)

    def _tokenize_pairs(self, pairs: Sequence[Pair]) -> list[Example]:
        """Tokenize pairs, without duplicates."""
        prompter = PromptRenderer(self.baseline[0].tokenizer, self.config.prompt)
        items = tokenize_pairs(prompter, pairs, answer_tokens=self.config.answer_tokens)
        return list(dict.fromkeys(item.example for item in items))

    def _measure_likelihoods(self, base: Base, adapter: LoraAdapter | None) -> LikelihoodResults:
        """Measure the likelihood of the retain answers."""
        rows = [(MODEL_ID, example) for example in self._tokenize_pairs(self.inputs.retain)]
        found = make_generator(base, adapter).compute_likelihoods(rows)
        return LikelihoodResults(
            nlls=tuple(one.nll for one in found), tokens=tuple(one.tokens for one in found)
        )

    def _measure_relearning(self, base: Base, adapter: LoraAdapter | None) -> tuple[float, ...]:
        """Measure relearning on the forget pairs, if there are any."""
        examples = self._tokenize_pairs(self.inputs.forget_pairs)
        return measure_relearning(base, adapter, examples, self.config.relearn) if examples else ()

    @cached_property
    def _base_losses(self) -> list[float]:
        """The bare base's losses on member and non-member pairs, computed once."""
        pairs = [*self.inputs.forget_pairs, *self.inputs.nonmember_pairs]
        return compute_losses(self.baseline[0], None, self._tokenize_pairs(pairs))

    def measure_membership(
        self, base: Base, adapter: LoraAdapter | None
    ) -> MembershipResult | None:
        """Run membership inference, calibrated with the bare base: the model before may know the
        pairs too."""
        if not (self.inputs.forget_pairs and self.inputs.nonmember_pairs):
            return None
        inside, outside = (
            self._tokenize_pairs(pairs)
            for pairs in (self.inputs.forget_pairs, self.inputs.nonmember_pairs)
        )
        return measure_membership(base, adapter, inside, outside, self._base_losses)
