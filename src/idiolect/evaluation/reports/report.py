"""Turns what an evaluation found into ``report.json``: scores, paired tests, verdicts, samples.

Knows answers and statistics; knows no model. The result is plain JSON data, described and versioned
in ``docs/report-schema.md``; pages, pictures and tables are made from it alone.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.evaluation.reports import plots
from idiolect.evaluation.reports import text as words
from idiolect.evaluation.reports.html import render_html
from idiolect.evaluation.reports.scores import (
    PERSON_BASELINES,
    group_by_person,
    run_paired_tests,
    score_method,
)
from idiolect.evaluation.results import FORMAT, Answer, Comparison, MethodRun
from idiolect.stats.metrics import get_metric
from idiolect.storage.files import write_atomic
from idiolect.tasks.registry import get_task

VERSION = 1


def build_report(
    comparisons: Sequence[Comparison],
    *,
    hardware: Mapping[str, Any],
    versions: Mapping[str, str],
    seed: int,
    samples: int = 6,
) -> dict[str, Any]:
    """The content of ``report.json``; the same answers and seed give the same report.

    ``samples`` queries a task are drawn at random and shown with everyone's answers. Raises
    UsageError where methods did not answer the same queries of the same people.
    """
    if not comparisons:
        raise UsageError("there is nothing to report: no task was evaluated")
    report = {
        "format": FORMAT,
        "version": VERSION,
        "seed": seed,
        "hardware": dict(hardware),
        "versions": dict(versions),
        "tasks": [
            _build_task(comparison, key, seed=seed, samples=samples)
            for comparison, key in zip(comparisons, _iter_keys(comparisons), strict=True)
        ],
    }
    try:
        # Through JSON once, so that what is returned is what a reader of the file gets.
        return json.loads(json.dumps(report, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"the report holds something that JSON cannot: {error}") from error


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write ``report.json``, ``report.html`` and a PNG a picture, each whole; gives the page.

    ``report.json`` comes last: where it stands, the rest stands too. Raises IdiolectError.
    """
    for task in report["tasks"]:
        for name in plots.list_plots(task):
            write_atomic(folder / f"{task['key']}-{name}.png", plots.render_png(task, name))
    page = folder / "report.html"
    write_atomic(page, render_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "report.json", text + "\n")
    return page


def anonymize_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report without anyone's words: no samples, and people numbered instead of named.

    One person keeps one number throughout a task, so paired tests can be repeated from it.
    """
    public = copy.deepcopy(dict(report))
    for task in public["tasks"]:
        task["samples"] = []
        scores = [s for method in task["methods"] for s in method["scores"].values() if s]
        people = sorted({person for score in scores for person in score["per_person"]})
        width = len(str(len(people)))
        numbers = {person: f"{place:0{width}d}" for place, person in enumerate(people, 1)}
        for method in task["methods"]:
            method["served_by_base"] = [numbers[person] for person in method["served_by_base"]]
        for score in scores:
            named = score["per_person"]
            score["per_person"] = {numbers[person]: value for person, value in named.items()}
    return public


def _iter_keys(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """A name for files and anchors, unique where one task was evaluated more than once."""
    seen: dict[str, int] = {}
    for comparison in comparisons:
        seen[comparison.task] = count = seen.get(comparison.task, 0) + 1
        yield comparison.task if count == 1 else f"{comparison.task}-{count}"


def _build_task(comparison: Comparison, key: str, *, seed: int, samples: int) -> dict[str, Any]:
    task = get_task(comparison.task)
    _check_same_queries(comparison)
    metrics = [get_metric(name) for name in task.metrics]
    runs = {run.method: run for run in comparison.runs}
    answers = {name: group_by_person(run, task.choices) for name, run in runs.items()}
    counts = [len(outcomes) for outcomes in answers[comparison.reference].values()]
    bootstrap = derive_seed(seed, "bootstrap")
    methods = [score_method(runs[name], answers[name], metrics, seed=bootstrap) for name in runs]
    tests = run_paired_tests(methods, comparison.reference, metrics, seed=bootstrap)
    return {
        "key": key,
        "task": task.name,
        "title": task.title,
        "dataset": comparison.dataset,
        "base": comparison.base,
        "reference": comparison.reference,
        "people": len(counts),
        "queries": sum(counts),
        "queries_per_person": {
            "min": min(counts),
            "median": median(counts),
            "max": max(counts),
        },
        "metric": metrics[0].name,
        "direction": metrics[0].direction,
        "metrics": [{"name": m.name, "direction": m.direction} for m in metrics],
        "choices": list(task.choices),
        "seeds": list(comparison.seeds),
        "settings": dict(comparison.settings),
        "methods": methods,
        "paired": tests,
        "verdicts": _collect_verdicts(tests, [*runs], comparison.reference, metrics[0].name),
        "curves": [asdict(curve) for curve in comparison.curves],
        "samples": _draw_samples(
            comparison, random.Random(derive_seed(seed, key, "samples")), samples
        ),
    }


def _check_same_queries(comparison: Comparison) -> None:
    """Raise UsageError unless every method answered the same queries, each once."""
    where = f"{comparison.task} on {comparison.dataset}"
    names = [run.method for run in comparison.runs]
    if len(set(names)) < len(names):
        raise UsageError(f"{where}: a method is there twice: {', '.join(names)}")
    if comparison.reference not in names:
        raise UsageError(
            f"{where}: the reference method {comparison.reference!r} was not run; "
            f"there are: {', '.join(names) or 'none'}"
        )
    expected = {
        (a.person, a.query): a.gold for a in _find_run(comparison, comparison.reference).answers
    }
    if not expected:
        raise UsageError(f"{where}: no queries were answered; choose people with more items")
    for run in comparison.runs:
        found = {(a.person, a.query): a.gold for a in run.answers}
        if len(found) < len(run.answers):
            raise UsageError(f"{where}: {run.method} answered a query twice")
        if found != expected:
            odd = min(expected.items() ^ found.items())[0]
            raise UsageError(
                f"{where}: {run.method} and {comparison.reference} do not agree on query "
                f"{odd[1]!r} of {odd[0]!r}; run both on the same people and queries"
            )


def _find_run(comparison: Comparison, name: str) -> MethodRun:
    return next(run for run in comparison.runs if run.method == name)


def choose_headline_method(names: Sequence[str], reference: str) -> str | None:
    """The method that the verdict is about: plain OPPU where it was run, else the first personal
    method, else the first other one. Decided by name, never by score."""
    others = [name for name in names if name != reference]
    personal = [name for name in others if words.is_personal(name)]
    return "oppu" if "oppu" in others else next(iter([*personal, *others]), None)


def _collect_verdicts(
    tests: Sequence[Mapping[str, Any]], names: Sequence[str], reference: str, name: str
) -> list[dict[str, str]]:
    method = choose_headline_method(names, reference)
    rivals = (reference, *PERSON_BASELINES)
    return [
        words.write_verdict(test)
        for rival in dict.fromkeys(rivals)
        for test in tests
        if (test["metric"], test["method"], test["against"]) == (name, method, rival)
    ]


def _draw_samples(comparison: Comparison, draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Queries drawn at random, of different people as far as possible."""
    asked = _find_run(comparison, comparison.reference).answers
    shuffled = sorted(asked, key=lambda a: (a.person, a.query))
    draw.shuffle(shuffled)
    turns: dict[str, int] = {}
    order: list[tuple[int, Answer]] = []
    for answer in shuffled:
        turns[answer.person] = turn = turns.get(answer.person, -1) + 1
        order.append((turn, answer))
    picked = [answer for _, answer in sorted(order, key=lambda pair: pair[0])[:count]]
    told = {run.method: {(a.person, a.query): a for a in run.answers} for run in comparison.runs}
    return [
        {
            "person": answer.person,
            "query": answer.query,
            "prompt": answer.prompt,
            "gold": answer.gold,
            "answers": [
                {"method": name, "text": a.text, "raw": a.raw}
                for name, by_query in told.items()
                for a in (by_query[answer.person, answer.query],)
            ],
        }
        for answer in picked
    ]
