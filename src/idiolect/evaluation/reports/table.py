"""An evaluation report as table rows and sentences for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from idiolect.evaluation.reports import text as words
from idiolect.stats.metrics import get_metric


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """One method of one task with formatted values; the reference method has no gain."""

    task: str
    """Heading of the task, e.g. ``film rating, MAE, lower is better``."""
    method: str
    score: str
    interval: str
    gain: str = ""
    p: str = ""
    people: str = ""
    """Number of people with a better / the same / a worse score than with the reference."""
    personal: bool = False
    conclusion: str = ""
    """``ahead``, ``behind``, ``undecided``, ``too-few``; empty for the reference
    method."""


HEADINGS = ("method", "score", "95% interval", "gain", "p", "better / same / worse")
"""Headings of the columns ``method`` to ``people`` of a row."""


def build_rows(report: Mapping[str, Any]) -> tuple[MethodRow, ...]:
    """Return one row per task and method with its deciding metric, in the order of the report."""
    return tuple(
        _build_row(task, method)
        for task in report["tasks"]
        for method in task["methods"]
        if method["scores"][task["metric"]]
    )


def list_verdicts(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the verdicts of all tasks as sentences that start with the task's title."""
    return tuple(
        f"{task['title'].capitalize()}: {verdict['text']}"
        for task in report["tasks"]
        for verdict in task["verdicts"]
    )


def _build_row(task: Mapping[str, Any], method: Mapping[str, Any]) -> MethodRow:
    score = method["scores"][task["metric"]]
    kind = get_metric(task["metric"]).title
    plain = MethodRow(
        task=f"{task['title']}, {kind}, {task['direction']} is better",
        method=words.format_title(method["method"]),
        score=words.format_number(score["score"]),
        interval=words.format_interval(score["interval"]),
        personal=words.is_personal(method["method"]),
    )
    # Only the test against the reference is shown; the reference itself has none.
    wanted = (task["metric"], method["method"], task["reference"])
    for test in task["paired"]:
        if (test["metric"], test["method"], test["against"]) == wanted:
            return replace(
                plain,
                gain=words.format_gain(test["gain"]),
                p=words.format_p_cell(test["p"]),
                people=f"{test['wins']} / {test['ties']} / {test['losses']}",
                conclusion=words.draw_conclusion(test),
            )
    return plain
