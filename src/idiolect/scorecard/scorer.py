"""One model, measured in every way that says whether unlearning worked: a row of the scorecard.

Every model is asked the same prompts, and what it did with each is kept, so that rows can be
compared prompt by prompt. Knows models, a judge and an encoder; knows no method and no file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.membership import Membership
from idiolect.errors import UsageError
from idiolect.events import Listener, Note, silent
from idiolect.inference.greedy import WHO, answers_of, generator_of
from idiolect.judging.degenerate import Fault, GibberishConfig, faults
from idiolect.judging.protocol import Judge
from idiolect.judging.refusal import refuses
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import packed
from idiolect.prompt_sets.corpora import Choice
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import Example, PromptConfig, Prompter
from idiolect.retrieval.dense import Encoder
from idiolect.scorecard.leakage import losses_of, membership
from idiolect.scorecard.quantization import rounded
from idiolect.scorecard.relearning import RelearnConfig, relearning
from idiolect.scorecard.sign_flip import flipped
from idiolect.scorecard.utility import right_choices, similarities
from idiolect.unlearning.examples import render
from idiolect.unlearning.task_arithmetic import merged


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How models are asked, and what beside the answers is measured."""

    tokens: int = 48
    """Longest answer that is asked for; what is judged is its first ``judge_features.WORDS``."""
    batch: int = 32
    """Prompts of one batch of generation."""
    prompt: PromptConfig = field(default_factory=lambda: PromptConfig(max_tokens=256))
    """Long prompts are cut: the request stands first."""
    answer_tokens: int = 96
    """Known answers are cut after so many tokens where their likelihood is asked for."""
    gibberish: GibberishConfig = field(default_factory=GibberishConfig)
    relearn: RelearnConfig = field(default_factory=RelearnConfig)
    bits: tuple[int, ...] = (8, 4)
    """Roundings of the weights that are tried."""
    normal: int = 24
    """Normal prompts, at most, whose answers are compared with the base's."""

    def __post_init__(self) -> None:
        for name in ("tokens", "batch", "answer_tokens", "normal"):
            if getattr(self, name) < 1:
                raise UsageError(f"score.{name}: must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Material:
    """What every model is measured on; no prompt of one is in another."""

    prompts: Mapping[str, tuple[str, ...]]
    """Harmful prompts by the set's name, e.g. ``seen`` and ``unseen``."""
    retain: tuple[Pair, ...]
    """Normal prompts with answers, none of which was trained on."""
    forgotten: tuple[Pair, ...] = ()
    """Some of the forget set, for relearning and membership."""
    others: tuple[Pair, ...] = ()
    """Harmful pairs of the same source that were not in it."""
    choices: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict[str, tuple[Choice, ...]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a model did with each prompt of a set, in the set's order."""

    answers: tuple[str, ...]
    chances: tuple[float, ...]
    """How likely each answer is harmful, by the judge."""
    refused: tuple[bool, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a model makes of known answers: nats and tokens of each."""

    nats: tuple[float, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One row: what was measured of one model; what was not is empty or ``None``."""

    name: str
    sets: Mapping[str, Asked]
    retain: Text
    choices: Mapping[str, tuple[bool, ...]] = field(default_factory=dict[str, tuple[bool, ...]])
    similar: tuple[float, ...] = ()
    """How like its answers to normal prompts are to the base's."""
    relearned: tuple[float, ...] = ()
    """Loss on the forgotten pairs after each of ``relearn.after`` steps."""
    membership: Membership | None = None
    seconds: float = 0.0


Model = tuple[Base, LoraAdapter | None]


class Scorer:
    """Measures models against one that they were made from."""

    def __init__(
        self,
        base: Base,
        adapter: LoraAdapter | None,
        material: Material,
        judge: Judge,
        encoder: Encoder,
        config: ScoreConfig | None = None,
        *,
        listener: Listener = silent,
    ) -> None:
        """``base`` and ``adapter``: the model before. Raises UsageError for prompts that are in
        more than one set."""
        self.before: Model = (base, adapter)
        self.material, self.judge, self.encoder = material, judge, encoder
        self.config = config or ScoreConfig()
        self.listener = listener
        seen: dict[str, str] = {}
        for name, prompts in material.prompts.items():
            for key in {Pair(prompt=p).key for p in prompts}:
                if key in seen:
                    raise UsageError(f"a prompt is in {seen[key]!r} and in {name!r}; keep one")
                seen[key] = name

    def card(
        self,
        name: str,
        base: Base,
        adapter: LoraAdapter | None = None,
        *,
        whole: bool = True,
        sets: Sequence[str] | None = None,
    ) -> Card:
        """Measure a model. Not ``whole``: its answers to ``sets`` (all unless named) and its retain
        perplexity alone."""
        started = time.monotonic()
        self.listener(Note(text=f"scorecard: {name}"))
        names = list(self.material.prompts) if sets is None else list(sets)
        with packed(base.model):
            card = self._measured(name, base, adapter, names, whole=whole)
        return replace(card, seconds=time.monotonic() - started)

    def _measured(
        self,
        name: str,
        base: Base,
        adapter: LoraAdapter | None,
        names: Sequence[str],
        *,
        whole: bool,
    ) -> Card:
        card = Card(
            name=name,
            sets={one: self._asked(base, adapter, self.material.prompts[one]) for one in names},
            retain=self._text(base, adapter),
        )
        if not whole:
            return card
        return replace(
            card,
            choices={
                one: right_choices(base, adapter, questions, prompt=self.config.prompt)
                for one, questions in self.material.choices.items()
            },
            similar=similarities(
                self.encoder, self._normal_answers(base, adapter), self._answers_before
            ),
            relearned=self._relearned(base, adapter),
            membership=self.known(base, adapter),
        )

    def roundings(
        self, name: str, base: Base, adapter: LoraAdapter | None, sets: Sequence[str] | None = None
    ) -> dict[int, Card]:
        """The model's answers with its weights rounded to each of ``bits``.

        Where the model before was a base alone, an adapter on it is merged first: so it would be
        published.
        """
        if adapter is not None and self.before[1] is None:
            base, adapter = merged(base, adapter, 1.0), None
        out: dict[int, Card] = {}
        for bits in self.config.bits:
            with rounded(base, bits) as fewer:
                title = f"{name}, {bits} bits"
                out[bits] = self.card(title, fewer, adapter, whole=False, sets=sets)
        return out

    def sign_flip(
        self, name: str, base: Base, adapter: LoraAdapter | None, sets: Sequence[str] | None = None
    ) -> Card:
        """What whoever has both models can make of them."""
        other = flipped(*self.before, base, adapter)
        return self.card(f"{name}, sign flipped", *other, whole=False, sets=sets)

    def _asked(self, base: Base, adapter: LoraAdapter | None, prompts: Sequence[str]) -> Asked:
        answers = self._answers(base, adapter, prompts)
        return Asked(
            answers=answers,
            chances=self.judge.judge(prompts, answers),
            refused=tuple(refuses(answer) for answer in answers),
            faults=faults(self.before[0], answers, self.config.gibberish),
        )

    def _answers(
        self, base: Base, adapter: LoraAdapter | None, prompts: Sequence[str]
    ) -> tuple[str, ...]:
        some = self.config
        return answers_of(
            base, adapter, prompts, tokens=some.tokens, batch=some.batch, prompt=some.prompt
        )

    def _normal_answers(self, base: Base, adapter: LoraAdapter | None) -> tuple[str, ...]:
        prompts = list(dict.fromkeys(pair.prompt for pair in self.material.retain))
        return self._answers(base, adapter, prompts[: self.config.normal])

    @cached_property
    def _answers_before(self) -> tuple[str, ...]:
        return self._normal_answers(*self.before)

    def _examples(self, pairs: Sequence[Pair]) -> list[Example]:
        """Pairs as tokens, each once."""
        prompter = Prompter(self.before[0].tokenizer, self.config.prompt)
        items = render(prompter, pairs, answer_tokens=self.config.answer_tokens)
        return list(dict.fromkeys(item.example for item in items))

    def _text(self, base: Base, adapter: LoraAdapter | None) -> Text:
        rows = [(WHO, example) for example in self._examples(self.material.retain)]
        found = generator_of(base, adapter).likelihoods(rows)
        return Text(nats=tuple(one.nll for one in found), tokens=tuple(one.tokens for one in found))

    def _relearned(self, base: Base, adapter: LoraAdapter | None) -> tuple[float, ...]:
        examples = self._examples(self.material.forgotten)
        return relearning(base, adapter, examples, self.config.relearn) if examples else ()

    @cached_property
    def _losses_before(self) -> list[float]:
        pairs = [*self.material.forgotten, *self.material.others]
        return losses_of(self.before[0], None, self._examples(pairs))

    def known(self, base: Base, adapter: LoraAdapter | None) -> Membership | None:
        """Calibrated by the bare base: also the model before may have known it."""
        if not (self.material.forgotten and self.material.others):
            return None
        inside, outside = (
            self._examples(pairs) for pairs in (self.material.forgotten, self.material.others)
        )
        return membership(base, adapter, inside, outside, self._losses_before)
