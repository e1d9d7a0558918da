"""What is asked of a person's model: one file a task, found by name.

Wordings are short, since each token of a prompt costs time on a small machine. A prompt's parts
meet at line breaks or quotes, because they become tokens one by one; the answer's turn is opened by
whoever renders the chat. Memories and passages may be shortened from the right by whoever shows
them, so what matters most stands first there.
"""

from __future__ import annotations

import re

from idiolect.errors import UsageError
from idiolect.tasks import (
    citation,
    email_subject,
    movie_tagging,
    news_categorization,
    news_headline,
    product_rating,
    rating,
    reply,
    scholarly_title,
    tweet_paraphrase,
    word_relation,
)
from idiolect.tasks.task import Prompt, Task

__all__ = ["Prompt", "Task", "get", "names"]

_TASKS = {
    module.TASK.name: module.TASK
    for module in (
        citation,
        movie_tagging,
        news_categorization,
        product_rating,
        news_headline,
        scholarly_title,
        email_subject,
        tweet_paraphrase,
        rating,
        reply,
        word_relation,
    )
}


def names() -> tuple[str, ...]:
    """The names of all tasks, the benchmark's in its own order first."""
    return tuple(_TASKS)


def get(name: str) -> Task:
    """The task of that name; ``LaMP_5``, ``lamp5`` and ``lamp-5`` are one. Raises UsageError."""
    known = re.sub(r"^lamp[-_ ]?(?=\d)", "lamp-", name.strip().lower())
    if known not in _TASKS:
        raise UsageError(f"unknown task {name!r}; known: {', '.join(_TASKS)}")
    return _TASKS[known]
