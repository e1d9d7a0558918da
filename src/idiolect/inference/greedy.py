"""Greedy answers of one model to plain prompts, in batches.

Greedy decoding needs no seed, and no sampling noise affects the comparison of two models.
"""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.adapters.protocol import Adapter
from idiolect.errors import UsageError
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.prompts.render import PromptConfig, PromptRenderer
from idiolect.tasks.task import Prompt

MODEL_ID = "it"
"""The person name under which the generator holds the single adapter."""


def make_generator(base: Base, adapter: Adapter | None) -> Generator:
    """Return a generator with one adapter or none; use ``MODEL_ID`` as the person."""
    return Generator(base, {} if adapter is None else {MODEL_ID: adapter.check_matches_base(base)})


def encode_plain_prompt(prompter: PromptRenderer, prompt: str, *, room: int) -> tuple[int, ...]:
    """Return a prompt's tokens in the chat template; raises UsageError if the template alone does
    not fit."""
    ids = prompter.encode_prompt(Prompt(before="", body=prompt), reserve_tokens=room)
    if ids is None:
        raise UsageError(
            f"prompt.max_tokens: {prompter.config.max_tokens} leaves no space for a prompt in "
            f"addition to {room} answer tokens"
        )
    return tuple(ids)


def answer_prompts(
    base: Base,
    adapter: Adapter | None,
    prompts: Sequence[str],
    *,
    tokens: int,
    batch: int = 32,
    prompt: PromptConfig | None = None,
) -> tuple[str, ...]:
    """Return the model's answer to each prompt in order, of at most ``tokens`` tokens."""
    # Leave space for the longest possible answer.
    prompter = PromptRenderer(base.tokenizer, prompt)
    requests = [(MODEL_ID, encode_plain_prompt(prompter, text, room=tokens)) for text in prompts]
    if not requests:
        return ()
    return tuple(
        make_generator(base, adapter).generate_greedy(requests, max_tokens=tokens, batch=batch)
    )
