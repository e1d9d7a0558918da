"""The definition of a task: which fields make prompt and target, and which metrics score it.

A task is a value; it does not depend on models, tokens or retrieval methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from idiolect.history.interaction import Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt in three parts, ``before + body + after``.

    Only ``body``, the input field, may be shortened to fit.
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

    If ``labeled`` is False, history items have no labels of the task (LaMP-1, LaMP-7). A person's
    adapter then learns by next-token loss on ``passage`` instead of ``target``.
    """

    name: str
    title: str
    """The task in a few words, for reports."""
    input_fields: tuple[str, ...]
    """Required fields of a query."""
    history_fields: tuple[str, ...]
    """Required fields of a history item."""
    target_field: str
    """The field of a query, or of a labeled history item, with the answer."""
    metrics: tuple[str, ...]
    """Names of metrics; comparisons use the first one."""
    prompt: Callable[[Interaction], Prompt]
    """The question for an item or query."""
    retrieved_text: Callable[[Interaction], str]
    """How a retrieved item is shown in a prompt."""
    search_text: Callable[[Interaction], str]
    """The search text of a query or item, for retrieval from the person's earlier items."""
    index_text: Callable[[Interaction], str]
    """The text of an earlier item that is searched."""
    passage: Callable[[Interaction], str]
    """The item as plain text, for next-token training and for profiles."""
    record_key: Callable[[Interaction], str | None]
    """A key that is equal if items of two people are the same record (a co-authored paper);
    ``None`` if equal text is not the same record (two people rate one film)."""
    parse_input: Callable[[str], Mapping[str, str]]
    """Parses a LaMP-style query string into fields; raises DataError."""
    profile_question: str
    """The question about a person's items that a profile writer answers."""
    labeled: bool = True
    choices: tuple[str, ...] = ()
    """The possible answers, if there are few; scored by their likelihood."""
    decode: Literal["generate", "argmax", "median"] = "generate"
    """How an answer is made: free text; the most likely choice; or the median of the likelihood
    over ordered choices, which minimizes the absolute error."""
    max_answer_tokens: int = 48

    def target(self, item: Interaction) -> str | None:
        """Return the answer of an item or query; ``None`` if unknown."""
        return item.fields.get(self.target_field)
