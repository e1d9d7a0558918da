"""The registry of tasks by name."""

from __future__ import annotations

import re

from idiolect.errors import UsageError
from idiolect.tasks import rating, reply, word_relation
from idiolect.tasks.lamp import (
    citation,
    email_subject,
    movie_tagging,
    news_categorization,
    news_headline,
    product_rating,
    scholarly_title,
    tweet_paraphrase,
)
from idiolect.tasks.task import Task

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


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, those of the LaMP benchmark first, in its order."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """Return a task by name; ``LaMP_5``, ``lamp5`` and ``lamp-5`` are equal. Raises UsageError."""
    # Normalize the spellings of LaMP names.
    known = re.sub(r"^lamp[-_ ]?(?=\d)", "lamp-", name.strip().lower())
    if known not in _TASKS:
        raise UsageError(f"unknown task {name!r}; known: {', '.join(_TASKS)}")
    return _TASKS[known]
