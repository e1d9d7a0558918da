"""LaMP-4: the headline that a journalist writes for an article.

Queries and items have ``text`` and ``title``.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(before="Write a headline for this article:\n", body=item.fields["text"])


def _format_retrieved(item: Interaction) -> str:
    return f"Headline: {item.fields['title']}\nArticle: {item.fields['text']}"


TASK = Task(
    name="lamp-4",
    title="news headline",
    input_fields=("text",),
    history_fields=("text", "title"),
    target_field="title",
    metrics=("rouge_1", "rouge_l", "perplexity"),
    prompt=_build_prompt,
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["text"],
    index_text=lambda item: f"{item.fields['title']} {item.fields['text']}",
    passage=lambda item: f"{item.fields['title']}\n{item.fields['text']}",
    record_key=lambda item: record_key(item.fields["text"]),
    parse_input=make_query_parser(
        "lamp-4", "Generate a headline for the following article: {text}"
    ),
    profile_question="What does this journalist write about, and how do they word their headlines? "
    "Answer in one sentence.",
)
