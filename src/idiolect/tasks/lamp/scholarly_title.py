"""LaMP-5: the title that a researcher gives to a paper, from its abstract.

Queries and items have ``abstract`` and ``title``.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(before="Write a title for this abstract:\n", body=item.fields["abstract"])


def _format_retrieved(item: Interaction) -> str:
    return f"Title: {item.fields['title']}\nAbstract: {item.fields['abstract']}"


TASK = Task(
    name="lamp-5",
    title="scholarly title",
    input_fields=("abstract",),
    history_fields=("abstract", "title"),
    target_field="title",
    metrics=("rouge_1", "rouge_l", "perplexity"),
    prompt=_build_prompt,
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["abstract"],
    index_text=lambda item: f"{item.fields['title']} {item.fields['abstract']}",
    passage=lambda item: f"{item.fields['title']}\n{item.fields['abstract']}",
    record_key=lambda item: record_key(item.fields["abstract"]),
    parse_input=make_query_parser(
        "lamp-5", "Generate a title for the following abstract of a paper: {abstract}"
    ),
    profile_question="What does this author research, and how do they word their titles? "
    "Answer in one sentence.",
)
