"""LaMP-3: the score, 1 to 5, that a person gives with a product review.

Queries and items have ``text`` (the review) and ``score``.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task


def _format_retrieved(item: Interaction) -> str:
    return f"Score: {item.fields['score']}\nReview: {item.fields['text']}"


TASK = Task(
    name="lamp-3",
    title="product rating",
    input_fields=("text",),
    history_fields=("text", "score"),
    target_field="score",
    metrics=("mae", "rmse"),
    prompt=lambda item: Prompt(before="Score the review 1-5:\n", body=item.fields["text"]),
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["text"],
    index_text=lambda item: item.fields["text"],
    passage=_format_retrieved,
    record_key=lambda item: record_key(item.fields["text"]),
    parse_input=make_query_parser(
        "lamp-3",
        "What is the score of the following review on a scale of 1 to 5? just answer with "
        "1, 2, 3, 4, or 5 without further explanation. review: {text}",
    ),
    profile_question="Which score does this reviewer give most often, and what do they praise or "
    "blame? Answer in one sentence.",
    choices=("1", "2", "3", "4", "5"),
    decode="median",
    max_answer_tokens=4,
)
