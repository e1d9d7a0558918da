"""Chat reply: how a person answers the last lines of a conversation.

Queries and items have ``context`` (earlier lines, oldest first; other people's words, see
``Interaction.voices``) and ``reply`` (the person's own words).
"""

from __future__ import annotations

from collections.abc import Mapping

from idiolect.errors import DataError
from idiolect.history.interaction import Interaction
from idiolect.tasks.task import Prompt, Task

MAX_CONTEXT_WORDS = 96
"""Maximum words of context in a prompt, counted from the end: the reply answers the last lines, and
a later cut from the right must not lose them."""
MAX_RETRIEVED_WORDS = 12
"""Maximum words of context before a retrieved reply, counted from the end: a cut from the right
must not lose the reply."""


def _keep_recent_lines(context: str) -> str:
    """Keep the last whole lines within the limit; a long last line loses its beginning."""
    lines = context.strip().splitlines()
    kept: list[str] = []
    room = MAX_CONTEXT_WORDS
    # From the last line backward, as long as whole lines fit.
    for line in reversed(lines):
        words = line.split()
        if kept and len(words) > room:
            break
        kept.append(" ".join(words[-room:]))
        room -= len(words)
        if room <= 0:
            break
    return "\n".join(reversed(kept))


def _build_prompt(item: Interaction) -> Prompt:
    return Prompt(before="", body=_keep_recent_lines(item.fields["context"]), after="\nMy reply:")


def _format_retrieved(item: Interaction) -> str:
    """Show the end of the last line before the reply, then the reply."""
    words = item.fields["context"].strip().rpartition("\n")[2].split()[-MAX_RETRIEVED_WORDS:]
    return f"{' '.join(words)}\nMy reply: {item.fields['reply']}"


def _build_index_text(item: Interaction) -> str:
    return f"{item.fields['context']}\n{item.fields['reply']}"


def _parse_context(text: str) -> Mapping[str, str]:
    """Parse a conversation; raises DataError if it is empty."""
    if not text.strip():
        raise DataError("reply: the conversation is empty", hint="give at least one line")
    return {"context": text.strip()}


TASK = Task(
    name="reply",
    title="chat reply",
    input_fields=("context",),
    history_fields=("context", "reply"),
    target_field="reply",
    metrics=("perplexity", "rouge_1", "rouge_l"),
    prompt=_build_prompt,
    retrieved_text=_format_retrieved,
    search_text=lambda item: item.fields["context"],
    index_text=_build_index_text,
    passage=lambda item: item.fields["reply"],
    record_key=lambda item: None,
    parse_input=_parse_context,
    profile_question="What does this person chat about, and in which tone, length and style? "
    "Answer in one sentence.",
    max_answer_tokens=40,
)
