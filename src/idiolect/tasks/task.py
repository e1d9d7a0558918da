"""What a task is: which fields of an interaction make prompt and target, and what scores it.

A task is a value; knows nothing of models, tokens or retrieval methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from idiolect.history.interaction import Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt in three parts; only ``body``, the input field, may be shortened to fit.

    The full text is ``before + body + after``.
    """

    before: str
    body: str
    after: str = ""

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.before + self.body + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One personal task.

    ``labelled`` is False where history items carry no labels of the task (LaMP-1, LaMP-7): then a
    person's adapter learns by next-token loss on ``passage`` instead of on ``target``.
    """

    name: str
    title: str
    """What the task is, in a few words, for reports."""
    input_fields: tuple[str, ...]
    """Fields that a query must have."""
    history_fields: tuple[str, ...]
    """Fields that a history item must have."""
    target_field: str
    """The field of a query (and of a labelled history item) that holds the answer."""
    metrics: tuple[str, ...]
    """Names in ``measure.metrics``; the first one decides comparisons."""
    prompt: Callable[[Interaction], Prompt]
    """The question asked for an item or query."""
    retrieved_text: Callable[[Interaction], str]
    """How an earlier item is shown inside a prompt (retrieval-augmented)."""
    search_text: Callable[[Interaction], str]
    """What a query or item searches the person's earlier items with."""
    index_text: Callable[[Interaction], str]
    """What of an earlier item is searched."""
    passage: Callable[[Interaction], str]
    """The item as plain text, for next-token training and for profiles."""
    record_key: Callable[[Interaction], str | None]
    """A key that is equal where two people's items are the same record (a co-authored paper);
    ``None`` where equal text does not mean the same record (two people rating one film)."""
    parse_input: Callable[[str], Mapping[str, str]]
    """The fields inside a LaMP-style query string; raises DataError."""
    profile_question: str
    """What a profile writer is asked about a person's items."""
    labelled: bool = True
    choices: tuple[str, ...] = ()
    """The possible answers, where they are few: scored by restricted-choice likelihood."""
    decode: Literal["generate", "argmax", "median"] = "generate"
    """How an answer is made: free text, the likeliest choice, or the median of the likelihood over
    ordered choices (what minimises the absolute error)."""
    max_answer_tokens: int = 48

    def target(self, item: Interaction) -> str | None:
        """The answer of an item or query, ``None`` where it is not known."""
        return item.fields.get(self.target_field)
