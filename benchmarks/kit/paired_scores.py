"""Means and paired comparisons of people's scores, as text; from the raw numbers of a result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from idiolect.evaluation.reports import text as words
from idiolect.stats.significance import PairedTestResult, bootstrap_mean_interval, run_paired_test

BOOTSTRAP_SEED = 0
TITLES = {"rating": "Film ratings", "reply": "Chat replies"}

Table = dict[str, Any]
Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""By method and metric: one score per person, in the same order for all methods."""


def list_metrics(scores: Scores) -> list[str]:
    """Return the metrics to show: MAE if answers are numbers, else perplexity; and nats."""
    return ["mae", "nats"] if scores["base"]["mae"] else ["nats", "perplexity"]


def get_scores(scores: Scores, name: str, metric: str) -> list[float]:
    """Return a method's score for each person."""
    if metric == "perplexity":
        return [math.exp(nats) for nats in scores[name]["nats"]]
    return list(scores[name][metric])


def compare_ways(scores: Scores, one: str, other: str, metric: str) -> PairedTestResult:
    """Compare two methods, paired by person; a positive gain means that ``one`` is better."""
    a, b = get_scores(scores, one, metric), get_scores(scores, other, metric)
    return run_paired_test(a, b, direction="lower", seed=BOOTSTRAP_SEED)


def format_gain(test: PairedTestResult) -> str:
    """Return a gain with its interval and p."""
    return f"{test.gain:+.3f} ({test.interval[0]:+.3f} to {test.interval[1]:+.3f}), " + (
        f"p {words.format_p_cell(test.p)}"
    )


def format_mean(scores: Scores, name: str, metric: str) -> str:
    """Return a method's mean with its bootstrap interval."""
    values = get_scores(scores, name, metric)
    low, high = bootstrap_mean_interval(values, seed=BOOTSTRAP_SEED)
    return f"{fmean(values):.3f} ({low:.3f}–{high:.3f})"


def list_headings(scores: Scores) -> list[str]:
    """Return the metrics' titles, in the order of ``list_metrics``."""
    return [{"mae": "MAE", "nats": "nats"}.get(m, m) for m in list_metrics(scores)]


def compute_speedups(
    data: Mapping[str, Any], one: str, other: str, field: str = "seconds"
) -> list[float]:
    """Return the cost of ``one`` divided by that of ``other``, for each group with both."""
    by = {(t["what"], t["group"]): t[field] for t in data["timed"]}
    groups = sorted({t["group"] for t in data["timed"]})
    return [by[one, g] / by[other, g] for g in groups if (one, g) in by and (other, g) in by]
