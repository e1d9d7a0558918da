"""LaMP-1: which of two papers an author cites; the answer is ``[1]`` or ``[2]``.

A query has ``title``, ``option1``, ``option2`` and ``citation``. An item is a paper of the author
with ``title`` and ``abstract``; it does not contain its citations.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task


def _build_prompt(item: Interaction) -> Prompt:
    option1, option2 = item.fields["option1"], item.fields["option2"]
    return Prompt(
        before='Which paper does the author of "',
        body=item.fields["title"],
        after=f'" cite? Answer [1] or [2].\n[1] {option1}\n[2] {option2}',
    )


def _build_search_text(item: Interaction) -> str:
    return " ".join(item.fields.get(name, "") for name in ("title", "option1", "option2")).strip()


def _format_passage(item: Interaction) -> str:
    return f"{item.fields['title']}\n{item.fields.get('abstract', '')}".strip()


TASK = Task(
    name="lamp-1",
    title="citation identification",
    input_fields=("title", "option1", "option2"),
    history_fields=("title", "abstract"),
    target_field="citation",
    metrics=("accuracy", "macro_f1"),
    prompt=_build_prompt,
    retrieved_text=lambda item: f"Paper: {item.fields['title']}",
    search_text=_build_search_text,
    index_text=_format_passage,
    passage=_format_passage,
    record_key=lambda item: record_key(item.fields["title"]),
    parse_input=make_query_parser(
        "lamp-1",
        'For an author who has written the paper with the title "{title}", which reference is '
        "related? Just answer with [1] or [2] without explanation. "
        '[1]: "{option1}" [2]: "{option2}"',
    ),
    profile_question="Which research topics does this author write about? "
    "Answer with the topics only, in one sentence.",
    labeled=False,
    choices=("[1]", "[2]"),
    decode="argmax",
    max_answer_tokens=4,
)
