"""Renders a task's prompt as tokens: chat template, context, truncation, and the answer span.

Depends on the tokenizer and its chat template, not on training or retrieval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from idiolect.errors import MismatchError
from idiolect.prompts.chat_template import encode_template_part, split_chat_template
from idiolect.tasks.task import Prompt


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """Length limits of the parts of a prompt."""

    max_tokens: int = 512
    """The longest sequence of prompt and answer, in tokens; the reference code uses 2048 for a 7B
    model."""
    field_words: int = 128
    """The words of the input field that are kept; the reference code uses 768."""
    memory_words: int = 40
    """The words of one retrieved item that are kept; the reference code uses 368."""
    profile_words: int = 60
    """The words of the profile that are kept."""


@dataclass(frozen=True, slots=True)
class Example:
    """The tokens of a prompt and its answer; ``ids[answer_start:]`` are the target tokens.

    ``answer_start`` is at least 1, because the position before a target predicts it.
    ``label_counts`` merges examples that have the same prompt and differ in the first answer token
    only. It holds (token, count) pairs in place of the first target token; the later target tokens
    count once per merged example.
    """

    ids: tuple[int, ...]
    answer_start: int
    label_counts: tuple[tuple[int, int], ...] = ()

    @property
    def num_answers(self) -> int:
        """The number of answers that the example represents."""
        return sum(count for _, count in self.label_counts) if self.label_counts else 1

    @property
    def num_targets(self) -> int:
        """The number of predicted tokens, over all its answers."""
        return (len(self.ids) - self.answer_start) * self.num_answers


class PromptRenderer:
    """Renders prompts for one tokenizer, in its chat template if it has one.

    It uses the template of a later turn, so that a default system prompt (20 or more tokens on each
    item of a short history) is left out.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, config: PromptConfig | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config or PromptConfig()
        opening, closing = split_chat_template(tokenizer)
        self.opening, self.closing = (
            encode_template_part(tokenizer, p) for p in (opening, closing)
        )
        self.answer_prefix = "" if tokenizer.chat_template else " "
        if not isinstance(tokenizer.eos_token_id, int):
            raise MismatchError("the tokenizer has no end-of-sequence token (eos_token)")
        self.eos_token_id = tokenizer.eos_token_id

    def _encode_text(self, text: str) -> list[int]:
        """Encode a person's text. Special tokens of the template that occur in it stay plain text,
        so that a text cannot end its own turn."""
        if not text:
            return []
        encode = self.tokenizer.encode
        return list(encode(text, add_special_tokens=False, split_special_tokens=True))

    def encode_answer(self, answer: str) -> list[int]:
        """Return the answer's tokens without the end token."""
        return self._encode_text(self.answer_prefix + answer)

    def encode_prompt(
        self,
        prompt: Prompt,
        *,
        retrieved_items: Sequence[str] = (),
        profile: str = "",
        reserve_tokens: int = 0,
    ) -> list[int] | None:
        """Return the prompt's tokens, leaving space for ``reserve_tokens`` answer tokens within
        ``max_tokens``.

        If the prompt is too long, it loses, in this order: the least relevant retrieved items (the
        last ones) until the context takes half of the space, then the end of the input field.
        Instruction and answer are never cut; returns None if they alone do not fit.
        """
        limits = self.config
        before, after = self._encode_text(prompt.before), self._encode_text(prompt.after)
        body = self._encode_text(truncate_words(prompt.body, limits.field_words))
        # These parts always stay; the rest shares ``space``.
        frame = len(self.opening) + len(self.closing) + len(before) + len(after)
        space = limits.max_tokens - frame - reserve_tokens
        if space < 1:
            return None
        # The context may take all that the body leaves, and at least half of the space.
        shown = self._encode_context(retrieved_items, profile, max(space // 2, space - len(body)))
        body = body[: space - len(shown)]
        return [*self.opening, *shown, *before, *body, *after, *self.closing]

    def _encode_context(
        self, retrieved_items: Sequence[str], profile: str, space: int
    ) -> list[int]:
        """Encode the profile and as many retrieved items as fit; the most relevant comes last,
        next to the question."""
        limits = self.config
        # The profile comes first, if it fits.
        about = self._encode_text(f"About me: {truncate_words(profile, limits.profile_words)}\n\n")
        out = about if profile and len(about) <= space else []
        chosen: list[list[int]] = []
        gap = self._encode_text("\n")
        for item in retrieved_items:
            line = self._encode_text(truncate_words(item, limits.memory_words) + "\n")
            if len(out) + sum(map(len, chosen)) + len(line) + len(gap) > space:
                break
            chosen.append(line)
        # Most relevant item last.
        lines = [token for line in reversed(chosen) for token in line]
        return [*out, *lines, *(gap if lines else [])]

    def encode_example(
        self, prompt: Prompt, answer: str, *, retrieved_items: Sequence[str] = (), profile: str = ""
    ) -> Example | None:
        """Return prompt and answer as a training example; None if instruction and answer do not
        fit."""
        answer_ids = [*self.encode_answer(answer), self.eos_token_id]
        ids = self.encode_prompt(
            prompt, retrieved_items=retrieved_items, profile=profile, reserve_tokens=len(answer_ids)
        )
        return None if ids is None else Example((*ids, *answer_ids), len(ids))

    def plain_text_example(self, text: str) -> Example | None:
        """Return an example for next-token training on plain text, cut at ``max_tokens``; None if
        the text is empty."""
        ids = [
            self.eos_token_id,
            *self._encode_text(truncate_words(text, self.config.field_words)),
            self.eos_token_id,
        ]
        ids = ids[: self.config.max_tokens]
        return Example(tuple(ids), 1) if len(ids) > 2 else None


def truncate_words(text: str, count: int) -> str:
    """Return the text up to its first ``count`` words; white space between them stays as it is."""
    # The last element is the unsplit rest; cut it off the original text.
    words = text.split(maxsplit=count)
    if len(words) <= count:
        return text
    return text[: len(text) - len(words[-1])].rstrip() if words else text
