"""The chat frame around a person's words, and the place from which an answer is asked for.

Knows tokenizers and their chat templates; knows no tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from idiolect.errors import MismatchError, UsageError


def encode_template_part(tokenizer: PreTrainedTokenizerFast, part: str) -> list[int]:
    """Tokens of a part of the frame, its marks as marks."""
    return list(tokenizer.encode(part, add_special_tokens=False))


def encode_invocation(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """The tokens that ask for an answer: what closes every prompt.

    An adapter that acts on answers only acts from here on (PEFT's ``alora_invocation_tokens``;
    Greenewald et al., 2025, "Activated LoRA").
    """
    return tuple(encode_template_part(tokenizer, split_chat_template(tokenizer)[1]))


def find_invocation(ids: Sequence[int], invocation: Sequence[int]) -> int:
    """Where the last occurrence of the invocation tokens starts.

    Raises UsageError where they do not occur: such a text asks for no answer.
    """
    size = len(invocation)
    for start in range(len(ids) - size, -1, -1):
        if tuple(ids[start : start + size]) == tuple(invocation):
            return start
    raise UsageError(
        "lora.active 'answer': a text that asks for no answer cannot be trained on "
        "(the task's histories have no labels); use 'all'"
    )


def split_chat_template(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    """What stands before and after a user's words up to the answer, from the chat template."""
    if not tokenizer.chat_template:
        bos = tokenizer.bos_token or ""
        return str(bos), "\nAnswer:"
    try:
        return _render_and_split(tokenizer)
    except Exception as error:  # a template is a program of whoever made the model
        raise MismatchError(
            f"the tokenizer's chat template does not render a plain conversation: {error!r}; "
            "mend it, or take it out of the model's folder"
        ) from error


def _render_and_split(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    talk = [
        {"role": "user", "content": "\x02first\x03"},
        {"role": "assistant", "content": "\x02reply\x03"},
        {"role": "user", "content": "\x02second\x03"},
    ]
    text = str(tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))
    until_reply = str(tokenizer.apply_chat_template(talk[:2], tokenize=False))
    end_of_turn = until_reply.split("\x02reply\x03")[1]
    between = text.split("\x02reply\x03")[1].split("\x02second\x03")[0]
    closing = text.split("\x02second\x03")[1]
    opening, bos = between.removeprefix(end_of_turn), str(tokenizer.bos_token or "")
    if bos and text.startswith(bos) and not opening.startswith(bos):
        opening = bos + opening
    return opening, closing
