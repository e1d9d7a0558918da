"""The chat template around a user message, and the tokens that ask for the answer.

Depends on tokenizers, not on tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from idiolect.deadlines import call_within
from idiolect.errors import MismatchError, UsageError

TEMPLATE_SECONDS = 20.0
"""Time limit of rendering one conversation, which takes milliseconds."""


def encode_template_part(tokenizer: PreTrainedTokenizerFast, part: str) -> list[int]:
    """Encode a part of the template; its special tokens stay special tokens."""
    return list(tokenizer.encode(part, add_special_tokens=False))


def encode_invocation(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """Return the tokens that ask for the answer: the end of every prompt.

    An adapter that acts on answers only acts from these tokens on (PEFT's
    ``alora_invocation_tokens``; Greenewald et al., 2025, "Activated LoRA").
    """
    return tuple(encode_template_part(tokenizer, split_chat_template(tokenizer)[1]))


def find_invocation(ids: Sequence[int], invocation: Sequence[int]) -> int:
    """Return the index at which the last occurrence of the invocation tokens starts.

    Raises UsageError if they do not occur, that is, if the text does not ask for an answer.
    """
    size = len(invocation)
    for start in range(len(ids) - size, -1, -1):
        if tuple(ids[start : start + size]) == tuple(invocation):
            return start
    raise UsageError(
        "lora.active 'answer': a text that does not ask for an answer cannot be trained on "
        "(the task's histories have no labels); use 'all'"
    )


def split_chat_template(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    """Return the template's text before and after a user message, up to the start of the
    answer."""
    if not tokenizer.chat_template:
        bos = tokenizer.bos_token or ""
        return str(bos), "\nAnswer:"
    try:
        return _render_and_split(tokenizer)
    except MismatchError:
        raise
    except Exception as error:
        raise MismatchError(
            "the tokenizer's chat template does not render a plain conversation "
            f"({str(error)[:200] or type(error).__name__}); fix it, or remove it from the model's "
            "folder"
        ) from error


def render_conversation(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, str]], *, ask: bool
) -> str:
    """Return the text of a conversation in the tokenizer's chat template; ``ask`` adds the start of
    an answer.

    A template is a program of the model's author (in Jinja's sandbox). Raises MismatchError if it
    runs longer than ``TEMPLATE_SECONDS``, and whatever it raises.
    """
    template: Any = tokenizer
    try:
        return call_within(
            TEMPLATE_SECONDS,
            lambda: str(
                template.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=ask
                )
            ),
        )
    except TimeoutError as error:
        raise MismatchError(
            f"the tokenizer's chat template runs for more than {TEMPLATE_SECONDS:g} seconds; use "
            "another model, or remove the template from the model's folder"
        ) from error


def _render_and_split(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    # Render a conversation of three marked messages, and cut the text at the marks. The second user
    # message gives a later turn, without the template's default system prompt.
    talk = [
        {"role": "user", "content": "\x02first\x03"},
        {"role": "assistant", "content": "\x02reply\x03"},
        {"role": "user", "content": "\x02second\x03"},
    ]
    text = render_conversation(tokenizer, talk, ask=True)
    until_reply = render_conversation(tokenizer, talk[:2], ask=False)
    end_of_turn = until_reply.split("\x02reply\x03")[1]
    between = text.split("\x02reply\x03")[1].split("\x02second\x03")[0]
    closing = text.split("\x02second\x03")[1]
    # The text between reply and next message ends the reply's turn and opens the user's.
    opening, bos = between.removeprefix(end_of_turn), str(tokenizer.bos_token or "")
    if bos and text.startswith(bos) and not opening.startswith(bos):
        opening = bos + opening
    return opening, closing
