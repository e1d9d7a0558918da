"""The protocol of profile writers, and their prompt: sample items, then the task's question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from idiolect.history.interaction import Interaction
from idiolect.tasks.task import Task

MAX_SAMPLE_ITEMS = 12
"""Maximum items in a writer's prompt, the most recent ones; a small model loses track of more."""
MAX_SAMPLE_WORDS = 30
"""Maximum words of each item."""


class ProfileWriter(Protocol):
    """Answers prompts, in their order; gets several at once so that a model can batch them."""

    def __call__(self, prompts: Sequence[str], /) -> Sequence[str]: ...


def build_question(items: Sequence[Interaction], task: Task) -> str:
    """Build the prompt for a profile of these items, which are in history order."""
    shown = [_truncate_words(task.passage(item)) for item in items[-MAX_SAMPLE_ITEMS:]]
    return "\n".join(f"- {line}" for line in shown if line) + f"\n\n{task.profile_question}"


def _truncate_words(text: str) -> str:
    """Cut a text to its first words, with " ..." if something is cut."""
    words = text.split()
    return " ".join(words[:MAX_SAMPLE_WORDS]) + (" ..." if len(words) > MAX_SAMPLE_WORDS else "")
