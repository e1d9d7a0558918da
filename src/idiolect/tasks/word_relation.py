"""The word game: what a player answers when asked for a word's synonyms, opposites, kinds or parts.

Queries and items have ``question`` (``parts of``), ``base_word`` with its determiner (``a knife``)
and ``answer``. A round with five answers is five items: alike as questions, so that a player's
model learns how likely each answer is, and not an order in which they were typed.
"""

from __future__ import annotations

from collections.abc import Mapping

from idiolect.errors import DataError
from idiolect.history import Interaction
from idiolect.tasks.task import Prompt, Task


def _asked(item: Interaction) -> str:
    return f"{item.fields['question']} {item.fields['base_word']}"


def _prompt(item: Interaction) -> Prompt:
    return Prompt(
        before=f"Answer with a word or two.\n{item.fields['question']} ",
        body=item.fields["base_word"],
    )


def _memory(item: Interaction) -> str:
    return f"{_asked(item)}: {item.fields['answer']}"


def _parse(text: str) -> Mapping[str, str]:
    question, colon, base_word = text.partition(":")
    if not colon or not question.strip() or not base_word.strip():
        raise DataError(
            f"word-relation: not a question of the game: {text[:120]!r}",
            hint="expected 'parts of: a knife'",
        )
    return {"question": question.strip(), "base_word": base_word.strip()}


TASK = Task(
    name="word-relation",
    title="word relation",
    input_fields=("base_word", "question"),
    history_fields=("base_word", "question", "answer"),
    target_field="answer",
    metrics=("perplexity", "rouge_1", "rouge_l"),
    prompt=_prompt,
    memory=_memory,
    search_text=_asked,
    index_text=_memory,
    passage=_memory,
    record=lambda item: None,
    parse_input=_parse,
    profile_question="Which kinds of words come to this person's mind first? "
    "Answer in one sentence.",
    max_answer_tokens=12,
)
