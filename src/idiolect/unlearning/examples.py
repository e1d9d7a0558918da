"""Forget and retain sets as tokens, and what a step of training draws from them.

Prompts and answers are kept apart, so that any answer can be put to any prompt and its first token
is where it was put, whatever the tokenizer. Every draw is seeded by (seed, purpose, step).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.prompt_sets.pairs import Pair, normalize_text
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.tasks.task import Prompt


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """A pair's tokens: the whole prompt in its frame, and the answer; ``key`` is its prompt's."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    key: str

    @property
    def example(self) -> Example:
        """The prompt with its own answer."""
        return self.with_answer(self.answer)

    def with_answer(self, answer: tuple[int, ...]) -> Example:
        """The prompt with any answer; its targets are the answer's tokens alone."""
        return Example((*self.prompt, *answer), len(self.prompt))


def tokenize_pairs(
    prompter: PromptRenderer, pairs: Sequence[Pair], *, answer_tokens: int
) -> tuple[TokenizedPair, ...]:
    """Pairs as tokens; answers are cut after ``answer_tokens``, and a cut one has no end mark.

    Every prompt leaves room for an answer of that length, so that all answers fit all prompts.
    Raises UsageError where a prompt's frame alone fills ``prompt.max_tokens``.
    """
    out: list[TokenizedPair] = []
    for pair in pairs:
        prompt = prompter.encode_prompt(Prompt(before="", body=pair.prompt), room=answer_tokens)
        if prompt is None:
            raise UsageError(
                f"prompt.max_tokens: {prompter.config.max_tokens} leaves no room for a prompt "
                f"beside {answer_tokens} tokens of an answer; raise it, or lower answer_tokens"
            )
        answer = [*prompter.encode_answer(pair.response), prompter.eos_token_id][:answer_tokens]
        out.append(TokenizedPair(tuple(prompt), tuple(answer), pair.key))
    return tuple(out)


def pair_from_example(example: Example) -> TokenizedPair:
    """An example that a task rendered, as an item; equal prompts share a key."""
    prompt = example.ids[: example.answer_start]
    return TokenizedPair(prompt, example.ids[example.answer_start :], normalize_text(repr(prompt)))


@dataclass(frozen=True)
class ForgetRetainSets:
    """What is to go and what is to stay, as tokens."""

    forget: tuple[TokenizedPair, ...]
    retain: tuple[TokenizedPair, ...]

    @cached_property
    def prompts_by_answer(self) -> dict[tuple[int, ...], set[str]]:
        """Every answer of the forget set with the keys of the prompts that it answers."""
        out: dict[tuple[int, ...], set[str]] = {}
        for item in self.forget:
            out.setdefault(item.answer, set()).add(item.key)
        return out

    def find_other_answers(self, item: TokenizedPair) -> list[tuple[int, ...]]:
        """The forget set's answers to other prompts, none of which answers this one."""
        return [answer for answer, keys in self.prompts_by_answer.items() if item.key not in keys]


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """What one step sees; a method takes the parts that it needs."""

    sets: ForgetRetainSets
    forget_indices: tuple[int, ...]
    """Numbers of the step's forget items."""
    retain_indices: tuple[int, ...]
    """Numbers of its retain items."""
    seed: int
    step: int

    @property
    def forget_examples(self) -> list[Example]:
        """The step's forget items with their own answers [B]."""
        return [self.sets.forget[n].example for n in self.forget_indices]

    @property
    def retain_examples(self) -> list[Example]:
        """The step's retain items with their own answers [B]."""
        return [self.sets.retain[n].example for n in self.retain_indices]

    def sample_disassociated(self, count: int) -> list[Example]:
        """Each forget prompt with up to ``count`` different answers that are not its own [B * K].

        Raises UsageError where all answers of the forget set are answers to the same prompt.
        """
        out: list[Example] = []
        for number in self.forget_indices:
            item = self.sets.forget[number]
            others = self.sets.find_other_answers(item)
            if not others:
                raise UsageError(
                    "the forget set has no answer to another prompt, which random disassociation "
                    "needs; give more pairs, or switch it off (sku.e2=0)"
                )
            draw = random.Random(derive_seed(self.seed, "others", number, self.step))
            out += [item.with_answer(a) for a in draw.sample(others, min(count, len(others)))]
        return out

    def sample_mismatched(self) -> list[Example]:
        """Each forget prompt with the answer of some retain item [B]."""
        draw = random.Random(derive_seed(self.seed, "mismatch", self.step))
        return [
            self.sets.forget[n].with_answer(draw.choice(self.sets.retain).answer)
            for n in self.forget_indices
        ]
