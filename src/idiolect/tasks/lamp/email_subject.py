"""LaMP-6: the subject line that a person writes for an email.

Queries and items have ``text`` and ``title``.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(before="Write a subject for this email:\n", body=item.fields["text"])


def _format_retrieved(item: Interaction) -> str:
    return f"Subject: {item.fields['title']}\nEmail: {item.fields['text']}"


TASK = Task(
    name="lamp-6",
    title="email subject",
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
    parse_input=make_query_parser("lamp-6", "Generate a subject for the following email: {text}"),
    profile_question="What does this person write emails about, and how do they word subjects? "
    "Answer in one sentence.",
)
