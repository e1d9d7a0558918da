"""The methods that are compared: what stands beside a question, whether there is an adapter.

Each is a row of the tables; knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from idiolect.errors import UsageError
from idiolect.evaluation.results import Answer, MethodRun
from idiolect.history.history import History
from idiolect.prompts.context import ContextConfig, RetrieverName
from idiolect.tasks.task import Task

WHOLE_HISTORY = 10_000
BaseKind = Literal["plain", "rag", "pag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way of answering."""

    name: str
    context: ContextConfig
    adapter: bool
    base: BaseKind
    """Which task-adapted base it runs on, where there are several (OPPU adapts one for each)."""


def select_methods(
    names: Sequence[str], *, k: int, retriever: RetrieverName = "bm25"
) -> tuple[Method, ...]:
    """The named methods; raises UsageError for an unknown name, or for no retriever."""
    if retriever == "none":
        raise UsageError("retriever: name one for the methods that retrieve, e.g. bm25")
    plain = ContextConfig()
    rag = ContextConfig(retrieval=retriever, k=k)
    pag = ContextConfig(retrieval=retriever, k=k, profile=True)
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
    for name in names:
        if name not in table:
            raise UsageError(f"unknown method {name!r}; known: {', '.join(table)}")
    return tuple(table[name] for name in dict.fromkeys(names))


def per_person_baselines(task: Task, histories: Sequence[History]) -> tuple[MethodRun, ...]:
    """A person's own mean and median as the answer to everything, where answers are numbers.

    What a personal model must beat: it costs nothing and knows the person's level.
    """
    if task.decode != "median":
        return ()
    return (
        _answer_constant("person-mean", task, histories, fmean),
        _answer_constant("person-median", task, histories, median),
    )


def _answer_constant(name: str, task: Task, histories: Sequence[History], of: object) -> MethodRun:
    assert callable(of)
    answers: list[Answer] = []
    for history in histories:
        known = [float(t) for t in (task.target(i) for i in history.items) if t]
        guess = of(known) if known else fmean(float(c) for c in task.choices)
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
