"""What a model says to prompts: greedy, in batches, the same for the same model every time.

Greedy answers need no seed and no sampling noise stands between two models that are compared.
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
"""The name under which a generator knows the one adapter."""


def make_generator(base: Base, adapter: Adapter | None) -> Generator:
    """A generator of one model; ask it as ``WHO``."""
    return Generator(base, {} if adapter is None else {MODEL_ID: adapter.check_matches_base(base)})


def encode_plain_prompt(prompter: PromptRenderer, prompt: str, *, room: int) -> tuple[int, ...]:
    """A prompt's tokens in its frame; raises UsageError where the frame alone does not fit."""
    ids = prompter.encode_prompt(Prompt(before="", body=prompt), room=room)
    if ids is None:
        raise UsageError(
            f"prompt.max_tokens: {prompter.config.max_tokens} leaves no room for a prompt beside "
            f"{room} tokens of an answer"
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
    """The model's answer to each prompt, at most ``tokens`` long, in order."""
    prompter = PromptRenderer(base.tokenizer, prompt)
    asked = [(MODEL_ID, encode_plain_prompt(prompter, text, room=tokens)) for text in prompts]
    if not asked:
        return ()
    return tuple(
        make_generator(base, adapter).generate_greedy(asked, max_tokens=tokens, batch=batch)
    )
