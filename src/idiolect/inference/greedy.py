"""What a model says to prompts: greedy, in batches, the same for the same model every time.

Greedy answers need no seed and no sampling noise stands between two models that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.adapters.protocol import Adapter
from idiolect.errors import UsageError
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.prompts.render import PromptConfig, Prompter
from idiolect.tasks.task import Prompt

WHO = "it"
"""The name under which a generator knows the one adapter."""


def generator_of(base: Base, adapter: Adapter | None) -> Generator:
    """A generator of one model; ask it as ``WHO``."""
    return Generator(base, {} if adapter is None else {WHO: adapter.check(base)})


def prompt_ids(prompter: Prompter, prompt: str, *, room: int) -> tuple[int, ...]:
    """A prompt's tokens in its frame; raises UsageError where the frame alone does not fit."""
    ids = prompter.prompt_ids(Prompt(before="", body=prompt), room=room)
    if ids is None:
        raise UsageError(
            f"prompt.max_tokens: {prompter.config.max_tokens} leaves no room for a prompt beside "
            f"{room} tokens of an answer"
        )
    return tuple(ids)


def answers_of(
    base: Base,
    adapter: Adapter | None,
    prompts: Sequence[str],
    *,
    tokens: int,
    batch: int = 32,
    prompt: PromptConfig | None = None,
) -> tuple[str, ...]:
    """The model's answer to each prompt, at most ``tokens`` long, in order."""
    prompter = Prompter(base.tokenizer, prompt)
    asked = [(WHO, prompt_ids(prompter, text, room=tokens)) for text in prompts]
    if not asked:
        return ()
    return tuple(generator_of(base, adapter).texts(asked, max_tokens=tokens, batch=batch))
