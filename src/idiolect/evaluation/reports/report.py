"""Builds and writes ``report.json``: scores, paired tests, verdicts, samples.

Works on stored answers; needs no model. The report is plain JSON data; its format is described in
``docs/report-schema.md``. Pages, pictures and tables are made from the JSON only.
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
"""Version of the format; increases if a field is removed or changes its meaning."""


def build_report(
    comparisons: Sequence[Comparison],
    *,
    hardware: Mapping[str, Any],
    versions: Mapping[str, str],
    seed: int,
    samples: int = 6,
) -> dict[str, Any]:
    """Return the content of ``report.json``; the same answers and seed give the same report.

    ``samples``: the number of queries per task that are drawn at random and shown with the answers
    of all methods. Raises UsageError if ``comparisons`` is empty, if the methods of a task did not
    answer the same queries of the same people, or if JSON cannot represent a value.
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
        # Convert to JSON and back: the returned value equals what a reader of the file gets.
        return json.loads(json.dumps(report, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"the report has a value that JSON cannot represent: {error}") from error


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write ``report.json``, ``report.html`` and one PNG per picture; return the page's path.

    Each file is written atomically, ``report.json`` last: if it exists, the report is complete.
    Raises IdiolectError if a file cannot be written.
    """
    for task in report["tasks"]:
        # Pictures for use outside the page, which embeds its own as SVG.
        for name in plots.list_plots(task):
            write_atomic(folder / f"{task['key']}-{name}.png", plots.render_png(task, name))
    page = folder / "report.html"
    write_atomic(page, render_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "report.json", text + "\n")
    return page


def anonymize_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report without personal data: no samples, and numbers instead of people's ids.

    A person has the same number throughout a task, so that paired tests can be repeated.
    """
    public = copy.deepcopy(dict(report))
    for task in public["tasks"]:
        task["samples"] = []
        scores = [s for method in task["methods"] for s in method["scores"].values() if s]
        people = sorted({person for score in scores for person in score["per_person"]})
        # Equal widths, so that the numbers sort as the ids did.
        width = len(str(len(people)))
        numbers = {person: f"{index:0{width}d}" for index, person in enumerate(people, 1)}
        for method in task["methods"]:
            method["served_by_base"] = [numbers[person] for person in method["served_by_base"]]
        for score in scores:
            named = score["per_person"]
            score["per_person"] = {numbers[person]: value for person, value in named.items()}
    return public


def _iter_keys(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield a unique key per comparison for file names and anchors: ``rating``, ``rating-2``."""
    seen: dict[str, int] = {}
    for comparison in comparisons:
        seen[comparison.task] = count = seen.get(comparison.task, 0) + 1
        yield comparison.task if count == 1 else f"{comparison.task}-{count}"


def _build_task(comparison: Comparison, key: str, *, seed: int, samples: int) -> dict[str, Any]:
    """Return the report of one task: scores of each method, paired tests, verdicts, samples."""
    task = get_task(comparison.task)
    _check_same_queries(comparison)
    metrics = [get_metric(name) for name in task.metrics]
    runs = {run.method: run for run in comparison.runs}
    answers = {name: group_by_person(run, task.choices) for name, run in runs.items()}
    counts = [len(outcomes) for outcomes in answers[comparison.reference].values()]
    # One bootstrap seed for all: methods are compared on the same resamples of people.
    bootstrap = derive_seed(seed, "bootstrap")
    methods = [score_method(runs[name], answers[name], metrics, seed=bootstrap) for name in runs]
    tests = run_paired_tests(methods, comparison.reference, metrics, seed=bootstrap)
    # The first metric of the task is the deciding one: verdicts are about it.
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
        raise UsageError(f"{where}: a method occurs twice: {', '.join(names)}")
    if comparison.reference not in names:
        raise UsageError(
            f"{where}: the reference method {comparison.reference!r} was not run; "
            f"there are: {', '.join(names) or 'none'}"
        )
    # All other methods must match the reference: the same people, queries and gold answers.
    expected = {
        (a.person, a.query): a.gold for a in _find_run(comparison, comparison.reference).answers
    }
    if not expected:
        raise UsageError(f"{where}: no queries were answered; choose people with more items")
    for run in comparison.runs:
        golds = {(a.person, a.query): a.gold for a in run.answers}
        if len(golds) < len(run.answers):
            raise UsageError(f"{where}: {run.method} answered a query twice")
        if golds != expected:
            # Name one query that is in one of the two only, or that has two gold answers.
            odd = min(expected.items() ^ golds.items())[0]
            raise UsageError(
                f"{where}: {run.method} and {comparison.reference} do not agree on query "
                f"{odd[1]!r} of {odd[0]!r}; run both on the same people and queries"
            )


def _find_run(comparison: Comparison, name: str) -> MethodRun:
    """Return the run of the named method, which must be there."""
    return next(run for run in comparison.runs if run.method == name)


def choose_headline_method(names: Sequence[str], reference: str) -> str | None:
    """Return the method that the verdicts are about, or ``None`` if only the reference was run.

    It is plain OPPU if it was run, else the first personal method, else the first other one. It is
    chosen by name, never by score.
    """
    others = [name for name in names if name != reference]
    personal = [name for name in others if words.is_personal(name)]
    return "oppu" if "oppu" in others else next(iter([*personal, *others]), None)


def _collect_verdicts(
    tests: Sequence[Mapping[str, Any]], names: Sequence[str], reference: str, name: str
) -> list[dict[str, str]]:
    """Write the verdicts: the headline method against the reference and the person baselines."""
    method = choose_headline_method(names, reference)
    rivals = (reference, *PERSON_BASELINES)
    return [
        words.write_verdict(test)
        for rival in dict.fromkeys(rivals)
        for test in tests
        if (test["metric"], test["method"], test["against"]) == (name, method, rival)
    ]


def _draw_samples(comparison: Comparison, draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Draw ``count`` queries at random, from as many different people as possible."""
    # Sort before the shuffle: the draw must not depend on the order of the answers.
    answers = _find_run(comparison, comparison.reference).answers
    shuffled = sorted(answers, key=lambda a: (a.person, a.query))
    draw.shuffle(shuffled)
    # Take the first query of each person, then the second of each, and so on.
    turns: dict[str, int] = {}
    order: list[tuple[int, Answer]] = []
    for answer in shuffled:
        turns[answer.person] = turn = turns.get(answer.person, -1) + 1
        order.append((turn, answer))
    picked = [answer for _, answer in sorted(order, key=lambda pair: pair[0])[:count]]
    by_method = {
        run.method: {(a.person, a.query): a for a in run.answers} for run in comparison.runs
    }
    # Show each drawn query with the answers of all methods.
    return [
        {
            "person": answer.person,
            "query": answer.query,
            "prompt": answer.prompt,
            "gold": answer.gold,
            "answers": [
                {"method": name, "text": a.text, "raw": a.raw}
                for name, by_query in by_method.items()
                for a in (by_query[answer.person, answer.query],)
            ],
        }
        for answer in picked
    ]
