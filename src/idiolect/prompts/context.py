"""The context of a person's question: retrieved earlier items, and the person's profile.

This is the only module that turns a history into prompts, for training and for serving. A question
may use only *strictly earlier* items (docs/invariants.md, invariant 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from idiolect.errors import UsageError
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.profiles.profile import Profile, select_profile
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.retrieval.registry import get_retriever
from idiolect.retrieval.retriever import Retriever
from idiolect.tasks.task import Task

RetrieverName = Literal["none", "bm25", "dense", "recent", "random"]


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """What a prompt contains besides the question."""

    retrieval: RetrieverName = "none"
    k: int = 4
    """The number of retrieved items. A large number with ``recent`` gives the whole history as far
    as it fits."""
    profile: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"context.k: must be at least 1, got {self.k}")


class PersonContext:
    """One person's history with its retrieval index, which is built once."""

    def __init__(
        self,
        history: History,
        task: Task,
        prompter: PromptRenderer,
        context: ContextConfig,
        *,
        profiles: Sequence[Profile] = (),
        encoder: Encoder | None = None,
        seed: int = 0,
    ) -> None:
        self.history, self.task, self.prompter, self.context = history, task, prompter, context
        self.profiles = profiles
        self.retriever: Retriever | None = None
        if context.retrieval != "none":
            # Index all items once; each question then searches only its visible prefix.
            texts = [task.index_text(item) for item in history.items]
            self.retriever = get_retriever(
                context.retrieval, texts, encoder=encoder, seed=seed, person=history.person
            )

    def retrieve_context(self, question: Interaction, visible: int) -> tuple[list[str], str]:
        """Return the retrieved items, most relevant first, and the profile.

        The question may use the first ``visible`` items of the history.
        """
        found: tuple[int, ...] = ()
        if self.retriever is not None and visible:
            text = self.task.search_text(question)
            found = self.retriever.retrieve_top_k(text, visible=visible, k=self.context.k)
        # Invariant 4: no later item enters a prompt.
        assert all(index < visible for index in found)
        profile = select_profile(self.profiles, visible) if self.context.profile else ""
        return [self.task.retrieved_text(self.history.items[index]) for index in found], profile

    def build_item_example(self, index: int) -> Example | None:
        """Return the training example of the item at ``index``; its context uses only items
        before it.

        Returns None if the item cannot be trained on: it has no answer, or is too long.
        """
        item = self.history.items[index]
        if not self.task.labeled:
            return self.prompter.plain_text_example(self.task.passage(item))
        return self._build_example(item, index)

    def build_history_example(self, item: Interaction) -> Example | None:
        """Return the training example of one of the history's items, or None."""
        return self.build_item_example(self.history.items.index(item))

    def build_query_example(self, query: Interaction) -> Example | None:
        """Return a query with its gold answer; None if the answer is unknown or too long."""
        return self._build_example(query, self.history.count_visible_to(query))

    def encode_query_prompt(self, query: Interaction, *, reserve_tokens: int) -> tuple[int, ...]:
        """Return a query's prompt tokens, with space for ``reserve_tokens`` answer tokens.

        Raises UsageError if the instruction and the answer do not fit into ``max_tokens``.
        """
        retrieved, profile = self.retrieve_context(query, self.history.count_visible_to(query))
        prompt = self.task.prompt(query)
        ids = self.prompter.encode_prompt(
            prompt, retrieved_items=retrieved, profile=profile, reserve_tokens=reserve_tokens
        )
        if ids is None:
            limit = self.prompter.config.max_tokens
            raise UsageError(
                f"prompt.max_tokens: {limit} is not enough for a {self.task.name} question "
                f"and {reserve_tokens} answer tokens"
            )
        return tuple(ids)

    def _build_example(self, item: Interaction, visible: int) -> Example | None:
        answer = self.task.target(item)
        # Nothing to train on.
        if not answer:
            return None
        retrieved, profile = self.retrieve_context(item, visible)
        prompt = self.task.prompt(item)
        return self.prompter.encode_example(
            prompt, answer, retrieved_items=retrieved, profile=profile
        )
