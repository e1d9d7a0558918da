"""LaMP-2: the tag, one of fifteen, that a person gives to a film.

Queries and items have ``description`` and ``tag``. The description is not the person's own text, so
the same film tagged by two people is two records.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.task import Prompt, Task

TAGS = (
    "sci-fi",
    "based on a book",
    "comedy",
    "action",
    "twist ending",
    "dystopia",
    "dark comedy",
    "classic",
    "psychology",
    "fantasy",
    "romance",
    "thought-provoking",
    "social commentary",
    "violence",
    "true story",
)


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(
        before=f"Tag the film with one of: {', '.join(TAGS)}.\n",
        body=item.fields["description"],
    )


def _format_retrieved(item: Interaction) -> str:
    return f"Tag: {item.fields['tag']}\nFilm: {item.fields['description']}"


TASK = Task(
    name="lamp-2",
    title="movie tagging",
    input_fields=("description",),
    history_fields=("description", "tag"),
    target_field="tag",
    metrics=("accuracy", "macro_f1"),
    prompt=_build_prompt,
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["description"],
    index_text=lambda item: item.fields["description"],
    passage=_format_retrieved,
    record_key=lambda item: None,
    parse_input=make_query_parser(
        "lamp-2",
        "Which tag does this movie relate to among the following tags? Just answer with the tag "
        "name without further explanation. tags: [{}] description: {description}",
    ),
    profile_question="Which tags does this person give to films most often, and to which films? "
    "Answer in one sentence.",
    choices=TAGS,
    decode="argmax",
    max_answer_tokens=8,
)
