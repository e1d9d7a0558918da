"""The methods that an evaluation compares: the prompt's context, with or without an adapter.

Each method is a row of the report's tables. Needs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from idiolect.errors import UsageError
from idiolect.evaluation.results import Answer, MethodRun
from idiolect.history.history import History
from idiolect.prompts.context import ContextConfig, RetrieverName
from idiolect.tasks.task import Task

WHOLE_HISTORY = 10_000
"""The number of retrieved items that means the whole history; the context length limits it."""
BaseKind = Literal["plain", "rag", "pag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to answer queries."""

    name: str
    context: ContextConfig
    """The retrieved items and the profile that are added to the prompt."""
    adapter: bool
    """Whether each person's own adapter is used."""
    base: BaseKind
    """The task-adapted base it runs on, if there are several: OPPU adapts one for each context."""


def select_methods(
    names: Sequence[str], *, k: int, retriever: RetrieverName = "bm25"
) -> tuple[Method, ...]:
    """Return the named methods, each once, in the given order.

    ``k`` is the number of retrieved items. Raises UsageError if a name is unknown, or if
    ``retriever`` is ``none``.
    """
    if retriever == "none":
        raise UsageError("retriever: the methods with retrieval need one, e.g. bm25; got none")
    plain = ContextConfig()
    rag = ContextConfig(retrieval=retriever, k=k)
    pag = ContextConfig(retrieval=retriever, k=k, profile=True)
    # The methods of the OPPU paper: without and with an adapter, for each kind of context.
    known = (
        Method(name="base", context=plain, adapter=False, base="plain"),
        Method(name="rag", context=rag, adapter=False, base="rag"),
        Method(
            name="full-history",
            context=ContextConfig(retrieval="recent", k=WHOLE_HISTORY),
            adapter=False,
            base="rag",
        ),
        Method(name="pag", context=pag, adapter=False, base="pag"),
        Method(name="oppu", context=plain, adapter=True, base="plain"),
        Method(name="oppu+rag", context=rag, adapter=True, base="rag"),
        Method(name="oppu+pag", context=pag, adapter=True, base="pag"),
    )
    table = {method.name: method for method in known}
    # Report an unknown name before any work starts.
    for name in names:
        if name not in table:
            raise UsageError(f"unknown method {name!r}; known: {', '.join(table)}")
    return tuple(table[name] for name in dict.fromkeys(names))


def per_person_baselines(task: Task, histories: Sequence[History]) -> tuple[MethodRun, ...]:
    """Answer each query with the mean and with the median of the person's own known answers.

    Empty if the task's answers are not numbers. A personal model must beat these baselines: they
    need no model, and they know the person's average.
    """
    if task.decode != "median":
        return ()
    return (
        _answer_constant("person-mean", task, histories, fmean),
        _answer_constant("person-median", task, histories, median),
    )


def _answer_constant(
    name: str, task: Task, histories: Sequence[History], average: Callable[[list[float]], float]
) -> MethodRun:
    """Answer all queries of a person with the average of the answers in the history."""
    answers: list[Answer] = []
    for history in histories:
        known = [float(t) for t in (task.target(i) for i in history.items) if t]
        # A person without known answers gets the middle of the scale.
        guess = average(known) if known else fmean(float(c) for c in task.choices)
        answers += [
            Answer(
                person=history.person,
                query=query.id,
                prompt=task.prompt(query).text,
                gold=task.target(query) or "",
                text=f"{guess:g}",
            )
            for query in history.queries
        ]
    return MethodRun(method=name, answers=tuple(answers))
