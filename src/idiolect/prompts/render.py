"""From a task's prompt to tokens: the chat frame, what is shown beside it, truncation, answer span.

Knows the tokenizer and its chat template; knows nothing of training or retrieval.
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
    """How much of everything fits into a prompt."""

    max_tokens: int = 512
    """The longest sequence, prompt and answer; the reference uses 2048 for a 7B model."""
    field_words: int = 128
    """Words kept of the input field; the reference uses 768."""
    memory_words: int = 40
    """Words kept of one retrieved item; the reference uses 368."""
    profile_words: int = 60


@dataclass(frozen=True, slots=True)
class Example:
    """Tokens of a prompt and its answer; ``ids[answer_start:]`` are the target tokens.

    ``answer_start`` is at least 1: every target is predicted from the position before it.
    ``tally`` is for one prompt that was answered more than once: it holds (token, count) pairs that
    stand in place of the first target token, and every later target counts as often as all of them.
    """

    ids: tuple[int, ...]
    answer_start: int
    label_counts: tuple[tuple[int, int], ...] = ()

    @property
    def num_answers(self) -> int:
        """How many answers it stands for."""
        return sum(count for _, count in self.label_counts) if self.label_counts else 1

    @property
    def num_targets(self) -> int:
        """How many tokens are predicted, over all its answers."""
        return (len(self.ids) - self.answer_start) * self.num_answers


class PromptRenderer:
    """Renders prompts for one tokenizer, in its chat frame where it has one.

    The frame is that of a later turn of a conversation, so that a template's default system prompt
    (20 tokens and more on every item of a short history) does not enter.
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
            raise MismatchError("the tokenizer has no token that ends an answer (eos_token)")
        self.eos_token_id = tokenizer.eos_token_id

    def _encode_text(self, text: str) -> list[int]:
        """Tokens of somebody's words: a mark of the frame that is written there stays words."""
        if not text:
            return []
        encode = self.tokenizer.encode
        return list(encode(text, add_special_tokens=False, split_special_tokens=True))

    def encode_answer(self, answer: str) -> list[int]:
        """The answer's own tokens, without the end mark."""
        return self._encode_text(self.answer_prefix + answer)

    def encode_prompt(
        self, prompt: Prompt, *, memories: Sequence[str] = (), profile: str = "", room: int = 0
    ) -> list[int] | None:
        """The prompt's tokens, leaving ``room`` tokens for an answer within ``max_tokens``.

        What does not fit goes in this order: the least relevant memories (they stand last in
        ``memories``) down to half of the space, then the end of the input field. Instruction and
        answer are never cut: ``None`` where they alone do not fit.
        """
        limits = self.config
        before, after = self._encode_text(prompt.before), self._encode_text(prompt.after)
        body = self._encode_text(truncate_words(prompt.body, limits.field_words))
        frame = len(self.opening) + len(self.closing) + len(before) + len(after)
        space = limits.max_tokens - frame - room
        if space < 1:
            return None
        shown = self._encode_context(memories, profile, max(space // 2, space - len(body)))
        body = body[: space - len(shown)]
        return [*self.opening, *shown, *before, *body, *after, *self.closing]

    def _encode_context(self, memories: Sequence[str], profile: str, space: int) -> list[int]:
        """Profile and as many of the best memories as fit, the best one nearest to the question."""
        limits = self.config
        about = self._encode_text(f"About me: {truncate_words(profile, limits.profile_words)}\n\n")
        out = about if profile and len(about) <= space else []
        chosen: list[list[int]] = []
        gap = self._encode_text("\n")
        for memory in memories:
            line = self._encode_text(truncate_words(memory, limits.memory_words) + "\n")
            if len(out) + sum(map(len, chosen)) + len(line) + len(gap) > space:
                break
            chosen.append(line)
        lines = [token for line in reversed(chosen) for token in line]
        return [*out, *lines, *(gap if lines else [])]

    def encode_example(
        self, prompt: Prompt, answer: str, *, memories: Sequence[str] = (), profile: str = ""
    ) -> Example | None:
        """Prompt and answer as training tokens, ``None`` where the answer alone does not fit."""
        answer_ids = [*self.encode_answer(answer), self.eos_token_id]
        ids = self.encode_prompt(prompt, memories=memories, profile=profile, room=len(answer_ids))
        return None if ids is None else Example((*ids, *answer_ids), len(ids))

    def plain_text_example(self, text: str) -> Example | None:
        """Plain text for next-token training, cut at ``max_tokens``; ``None`` for empty text."""
        ids = [
            self.eos_token_id,
            *self._encode_text(truncate_words(text, self.config.field_words)),
            self.eos_token_id,
        ]
        ids = ids[: self.config.max_tokens]
        return Example(tuple(ids), 1) if len(ids) > 2 else None


def truncate_words(text: str, count: int) -> str:
    """The text up to its first ``count`` words, white space inside it untouched."""
    words = text.split(maxsplit=count)
    if len(words) <= count:
        return text
    return text[: len(text) - len(words[-1])].rstrip() if words else text
