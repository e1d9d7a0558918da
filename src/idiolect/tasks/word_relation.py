"""The word game: a player's answer when asked for synonyms, opposites, kinds or parts of a word.

Queries and items have ``question``, as the player saw it ("What are parts of a knife?"), and
``answer``. A round with five answers is five items with the same question, so a player's model
learns the probability of each answer, not the order of typing.
"""

from __future__ import annotations

from collections.abc import Mapping

from idiolect.errors import DataError
from idiolect.history.interaction import Interaction
from idiolect.tasks.task import Prompt, Task


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(before="Answer with a word or two.\n", body=item.fields["question"])


def _format_retrieved(item: Interaction) -> str:
    return f"{item.fields['question']} {item.fields['answer']}"


def _parse_question(text: str) -> Mapping[str, str]:
    """Parse a question; raises DataError if it is empty."""
    if not text.strip():
        raise DataError(
            "word-relation: the question is empty", hint="ask e.g. 'What are parts of a knife?'"
        )
    return {"question": " ".join(text.split())}


TASK = Task(
    name="word-relation",
    title="word relation",
    input_fields=("question",),
    history_fields=("question", "answer"),
    target_field="answer",
    metrics=("perplexity", "rouge_1", "rouge_l"),
    prompt=_build_prompt,
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["question"],
    index_text=_format_retrieved,
    passage=_format_retrieved,
    record_key=lambda item: None,
    parse_input=_parse_question,
    profile_question="Which kinds of words come to this person's mind first? "
    "Answer in one sentence.",
    max_answer_tokens=12,
)
