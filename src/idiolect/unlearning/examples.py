"""Tokenized forget and retain sets, and the batches that training steps draw from them.

Prompts and answers are tokenized separately. Any answer can then follow any prompt, and the
position of its first token does not depend on the tokenizer. Every random draw is seeded by (seed,
purpose, step).
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
    """A pair as token ids: the whole prompt in the chat template, and the answer. Pairs with equal
    prompts have the same ``key``."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    key: str

    @property
    def example(self) -> Example:
        """The prompt with its own answer."""
        return self.with_answer(self.answer)

    def with_answer(self, answer: tuple[int, ...]) -> Example:
        """Return the prompt with another answer; only the answer's tokens are targets."""
        return Example((*self.prompt, *answer), len(self.prompt))


def tokenize_pairs(
    prompter: PromptRenderer, pairs: Sequence[Pair], *, answer_tokens: int
) -> tuple[TokenizedPair, ...]:
    """Tokenize pairs. An answer longer than ``answer_tokens`` is truncated, and then has no
    end-of-sequence token.

    Each prompt is truncated so that an answer of ``answer_tokens`` tokens fits after it. Raises
    UsageError if the chat template alone leaves no space for that within ``prompt.max_tokens``.
    """
    out: list[TokenizedPair] = []
    for pair in pairs:
        prompt = prompter.encode_prompt(
            Prompt(before="", body=pair.prompt), reserve_tokens=answer_tokens
        )
        if prompt is None:
            raise UsageError(
                f"prompt.max_tokens: {prompter.config.max_tokens} leaves no space for a prompt "
                f"before an answer of {answer_tokens} tokens; raise it, or lower answer_tokens"
            )
        # Truncation can remove the end token: a cut answer must not teach the model to stop there.
        answer = [*prompter.encode_answer(pair.response), prompter.eos_token_id][:answer_tokens]
        out.append(TokenizedPair(tuple(prompt), tuple(answer), pair.key))
    return tuple(out)


def pair_from_example(example: Example) -> TokenizedPair:
    """Convert an example that a task rendered. Equal prompts get equal keys."""
    prompt = example.ids[: example.answer_start]
    return TokenizedPair(prompt, example.ids[example.answer_start :], normalize_text(repr(prompt)))


@dataclass(frozen=True)
class ForgetRetainSets:
    """The knowledge to remove and the knowledge to keep, as tokens."""

    forget: tuple[TokenizedPair, ...]
    retain: tuple[TokenizedPair, ...]

    @cached_property
    def prompts_by_answer(self) -> dict[tuple[int, ...], set[str]]:
        """Map each answer in the forget set to the keys of the prompts that it answers."""
        out: dict[tuple[int, ...], set[str]] = {}
        for item in self.forget:
            out.setdefault(item.answer, set()).add(item.key)
        return out

    def find_other_answers(self, item: TokenizedPair) -> list[tuple[int, ...]]:
        """Return the answers in the forget set that never answer this item's prompt."""
        return [answer for answer, keys in self.prompts_by_answer.items() if item.key not in keys]


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """The data of one training step. A method uses the parts that it needs."""

    sets: ForgetRetainSets
    forget_indices: tuple[int, ...]
    """Indices of this step's items in the forget set."""
    retain_indices: tuple[int, ...]
    """Indices of this step's items in the retain set."""
    seed: int
    step: int

    @property
    def forget_examples(self) -> list[Example]:
        """This step's forget items with their own answers [B]."""
        return [self.sets.forget[n].example for n in self.forget_indices]

    @property
    def retain_examples(self) -> list[Example]:
        """This step's retain items with their own answers [B]."""
        return [self.sets.retain[n].example for n in self.retain_indices]

    def sample_disassociated(self, count: int) -> list[Example]:
        """Pair each forget prompt with up to ``count`` distinct answers to other prompts [B * K].

        Raises UsageError if all answers of the forget set belong to the same prompt.
        """
        out: list[Example] = []
        for number in self.forget_indices:
            # The draw depends on item and step only, not on the rest of the batch.
            item = self.sets.forget[number]
            others = self.sets.find_other_answers(item)
            if not others:
                raise UsageError(
                    "the forget set has no answer to another prompt, which random disassociation "
                    "needs; add pairs with other prompts, or turn it off (sku.e2=0)"
                )
            draw = random.Random(derive_seed(self.seed, "others", number, self.step))
            out += [item.with_answer(a) for a in draw.sample(others, min(count, len(others)))]
        return out

    def sample_mismatched(self) -> list[Example]:
        """Pair each forget prompt with the answer of a random retain item [B]."""
        draw = random.Random(derive_seed(self.seed, "mismatch", self.step))
        return [
            self.sets.forget[n].with_answer(draw.choice(self.sets.retain).answer)
            for n in self.forget_indices
        ]
