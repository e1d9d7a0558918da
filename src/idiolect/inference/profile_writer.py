"""A base model as the writer of profiles; fits the ``Writer`` protocol of ``profiles``."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.prompts.render import PromptConfig, PromptRenderer
from idiolect.tasks.task import Prompt

ANSWER_TOKENS = 48
PROMPT_TOKENS = 640


class ModelProfileWriter:
    """Asks the base itself, greedily; always the same answer to the same prompt."""

    def __init__(self, base: Base) -> None:
        config = PromptConfig(max_tokens=PROMPT_TOKENS, field_words=PROMPT_TOKENS)
        self.prompter = PromptRenderer(base.tokenizer, config)
        self.generator = Generator(base)
        self.name = f"{base.name} {base.identity[:12]}"

    def __call__(self, prompts: Sequence[str], /) -> list[str]:
        """The answers, in order."""
        asked = []
        for text in prompts:
            head, _, question = text.rpartition("\n")
            prompt = Prompt(before="", body=head, after=f"\n{question}")
            ids = self.prompter.encode_prompt(prompt, room=ANSWER_TOKENS)
            asked.append(("", tuple(ids or ())))
        return self.generator.generate_greedy(asked, max_tokens=ANSWER_TOKENS, batch=8)
