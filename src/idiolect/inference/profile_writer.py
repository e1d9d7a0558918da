"""Writes profiles with a base model; implements the ``Writer`` protocol of ``profiles``."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.prompts.render import PromptConfig, PromptRenderer
from idiolect.tasks.task import Prompt

ANSWER_TOKENS = 48
PROMPT_TOKENS = 640


class ModelProfileWriter:
    """Generates greedily with the bare base, so the same prompt always gives the same profile."""

    def __init__(self, base: Base) -> None:
        config = PromptConfig(max_tokens=PROMPT_TOKENS, field_words=PROMPT_TOKENS)
        self.prompter = PromptRenderer(base.tokenizer, config)
        self.generator = Generator(base)
        self.name = f"{base.name} {base.identity[:12]}"

    def __call__(self, prompts: Sequence[str], /) -> list[str]:
        """Return the answers in order."""
        requests = []
        for text in prompts:
            # The last line is the instruction: it stays if the items before it are cut.
            head, _, question = text.rpartition("\n")
            prompt = Prompt(before="", body=head, after=f"\n{question}")
            ids = self.prompter.encode_prompt(prompt, reserve_tokens=ANSWER_TOKENS)
            requests.append(("", tuple(ids or ())))
        return self.generator.generate_greedy(requests, max_tokens=ANSWER_TOKENS, batch=8)
