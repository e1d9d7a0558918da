"""A report as short lines of text for a terminal; knows the report's plain data, draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from idiolect.evaluation.reports import text as words
from idiolect.stats.metrics import metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method of one task, ready to print; the reference has no gain."""

    task: str
    """Heading, e.g. ``film rating, MAE, lower is better``."""
    method: str
    score: str
    interval: str
    gain: str = ""
    p: str = ""
    people: str = ""
    """Better / same / worse."""
    personal: bool = False
    conclusion: str = ""
    """``ahead``, ``behind``, ``undecided``, ``too-few``; empty for the reference."""


HEADINGS = ("method", "score", "95% interval", "gain", "p", "better / same / worse")
"""Headings of the printed columns: method, score, interval, gain, p and people of a row."""


def table(report: Mapping[str, Any]) -> tuple[Row, ...]:
    """A row a task and method, on the task's deciding metric, in the order they were run."""
    return tuple(
        _row(task, method)
        for task in report["tasks"]
        for method in task["methods"]
        if method["scores"][task["metric"]]
    )


def verdicts(report: Mapping[str, Any]) -> tuple[str, ...]:
    """The report's conclusions, one sentence each, led by the task."""
    return tuple(
        f"{task['title'].capitalize()}: {verdict['text']}"
        for task in report["tasks"]
        for verdict in task["verdicts"]
    )


def _row(task: Mapping[str, Any], method: Mapping[str, Any]) -> Row:
    score = method["scores"][task["metric"]]
    kind = metric(task["metric"]).title
    plain = Row(
        task=f"{task['title']}, {kind}, {task['direction']} is better",
        method=words.title(method["method"]),
        score=words.number(score["score"]),
        interval=words.span(score["interval"]),
        personal=words.is_personal(method["method"]),
    )
    wanted = (task["metric"], method["method"], task["reference"])
    for test in task["paired"]:
        if (test["metric"], test["method"], test["against"]) == wanted:
            return replace(
                plain,
                gain=words.signed(test["gain"]),
                p=words.p_value(test["p"]),
                people=f"{test['wins']} / {test['ties']} / {test['losses']}",
                conclusion=words.conclusion(test),
            )
    return plain
