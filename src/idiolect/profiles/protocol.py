"""What a profile writer is asked: some of a person's items, then the task's question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from idiolect.history.interaction import Interaction
from idiolect.tasks.task import Task

MAX_SAMPLE_ITEMS = 12
"""How many items a writer is shown, the most recent ones: a small model loses track of more."""
MAX_SAMPLE_WORDS = 30
"""How many words of each."""


class ProfileWriter(Protocol):
    """Answers prompts, in their order; gets many at once so that a model can work in batches."""

    def __call__(self, prompts: Sequence[str], /) -> Sequence[str]: ...


def build_question(items: Sequence[Interaction], task: Task) -> str:
    """The prompt for a profile made from these items, in history order."""
    shown = [_truncate_words(task.passage(item)) for item in items[-MAX_SAMPLE_ITEMS:]]
    return "\n".join(f"- {line}" for line in shown if line) + f"\n\n{task.profile_question}"


def _truncate_words(text: str) -> str:
    words = text.split()
    return " ".join(words[:MAX_SAMPLE_WORDS]) + (" ..." if len(words) > MAX_SAMPLE_WORDS else "")
