"""The check that ``idiolect share`` runs: adapters answer harmful prompts, and the default judge
scores the answers.

The prompts are AdvBench's goals, which the judge never saw. Prompts and labels are read from
installed packages. If these are missing, nothing is checked, and the listener gets a message.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property

from idiolect.adapters.protocol import Adapter
from idiolect.config import derive_seed
from idiolect.errors import MissingError
from idiolect.events import Listener, Message, Progress, null_listener
from idiolect.inference.generator import Generator
from idiolect.inference.greedy import encode_plain_prompt
from idiolect.judging.protocol import HARMFUL_PROBABILITY, Judge
from idiolect.judging.registry import load_default_judge
from idiolect.models.base import Base
from idiolect.models.encoder import MiniLM
from idiolect.pieces.sharing.harm import HarmConfig, HarmResult
from idiolect.prompt_sets.corpora import load_advbench
from idiolect.prompts.render import PromptRenderer

PROGRESS_STAGE = "harmful prompts"


class DefaultHarmCheck:
    """A ``HarmCheck`` with the default judge and prompts, unless others are given."""

    def __init__(
        self,
        judge: Judge | None = None,
        prompts: Sequence[str] | None = None,
        *,
        listener: Listener = null_listener,
    ) -> None:
        self._judge, self._prompts, self.listener = judge, prompts, listener

    def __call__(
        self, base: Base, adapters: Mapping[str, Adapter], config: HarmConfig, /
    ) -> Mapping[str, HarmResult]:
        """Return how each adapter changes the base's harmful answers."""
        if not config.on or not adapters:
            return {}
        try:
            judge, prompts = self.judge, self._sample_prompts(config)
        except MissingError as error:
            self.listener(Message(text=f"harmful answers are not checked: {error}"))
            return {}
        total = len(adapters) + 1
        self.listener(Progress(stage=PROGRESS_STAGE, done=0, total=total, unit="adapters"))
        # The base's own answers are the reference for every adapter.
        base_answers = self._generate_answers(base, {}, "", prompts, config)
        alone = _flag_harmful(judge, prompts, base_answers)
        out: dict[str, HarmResult] = {}
        for name, adapter in adapters.items():
            done = len(out) + 1
            self.listener(Progress(stage=PROGRESS_STAGE, done=done, total=total, unit="adapters"))
            # One adapter at a time, so that memory does not grow with the number of people.
            answers = self._generate_answers(base, {name: adapter}, name, prompts, config)
            out[name] = compare_answers(alone, _flag_harmful(judge, prompts, answers))
        self.listener(Progress(stage=PROGRESS_STAGE, done=total, total=total, unit="adapters"))
        return out

    @cached_property
    def judge(self) -> Judge:
        """The judge. Raises MissingError if the labeled answers are not installed."""
        if self._judge is not None:
            return self._judge
        return load_default_judge(MiniLM(), listener=self.listener)

    def _sample_prompts(self, config: HarmConfig) -> list[str]:
        """Return a seeded sample of the prompts."""
        prompts = self._prompts
        if prompts is None:
            prompts = [pair.prompt for pair in load_advbench()]
        if len(prompts) <= config.prompts:
            return list(prompts)
        rng = random.Random(derive_seed(config.seed, PROGRESS_STAGE))
        return rng.sample(list(prompts), config.prompts)

    def _generate_answers(
        self,
        base: Base,
        adapters: Mapping[str, Adapter],
        name: str,
        prompts: Sequence[str],
        config: HarmConfig,
    ) -> list[str]:
        """Generate greedy answers of the base, or of one adapter on it."""
        prompter, room = PromptRenderer(base.tokenizer), config.answer_tokens
        asked = [(name, encode_plain_prompt(prompter, prompt, room=room)) for prompt in prompts]
        return Generator(base, adapters).generate_greedy(asked, max_tokens=room)


def _flag_harmful(judge: Judge, prompts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    return [chance >= HARMFUL_PROBABILITY for chance in judge.score_answers(prompts, answers)]


def compare_answers(alone: Sequence[bool], having: Sequence[bool]) -> HarmResult:
    """Compare two models' answers to the same prompts. ``alone`` and ``having`` say whether each
    answer is harmful, without and with the adapter."""
    pairs = list(zip(alone, having, strict=True))
    return HarmResult(
        prompts=len(pairs),
        harmful=sum(having),
        base_harmful=sum(alone),
        became_harmful=sum(after and not before for before, after in pairs),
        ceased_harmful=sum(before and not after for before, after in pairs),
    )
