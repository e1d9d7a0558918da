"""LaMP-2N: the category, one of fifteen, of an author's news article.

Queries and items have ``text`` and ``category``. An item may have its headline as ``title``;
queries have none, so prompts do not show it.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task

CATEGORIES = (
    "women",
    "religion",
    "politics",
    "style & beauty",
    "entertainment",
    "culture & arts",
    "sports",
    "science & technology",
    "travel",
    "business",
    "crime",
    "education",
    "healthy living",
    "parents",
    "food & drink",
)


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(
        before=f"Sort the article under one of: {', '.join(CATEGORIES)}.\n",
        body=item.fields["text"],
    )


def _format_retrieved(item: Interaction) -> str:
    return f"Category: {item.fields['category']}\nArticle: {item.fields['text']}"


def _build_index_text(item: Interaction) -> str:
    return f"{item.fields.get('title', '')} {item.fields['text']}".strip()


TASK = Task(
    name="lamp-2n",
    title="news categorization",
    input_fields=("text",),
    history_fields=("text", "category"),
    target_field="category",
    metrics=("accuracy", "macro_f1"),
    prompt=_build_prompt,
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["text"],
    index_text=_build_index_text,
    passage=lambda item: f"Category: {item.fields['category']}\nArticle: {_build_index_text(item)}",
    record_key=lambda item: record_key(item.fields["text"]),
    parse_input=make_query_parser(
        "lamp-2n",
        "Which category does this article relate to among the following categories? Just answer "
        "with the category name without further explanation. categories: [{}] article: {text}",
    ),
    profile_question="Which categories does this journalist write in most often, and about what? "
    "Answer in one sentence.",
    choices=CATEGORIES,
    decode="argmax",
    max_answer_tokens=8,
)
