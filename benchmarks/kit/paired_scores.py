"""Scores of people as means, and paired with each other; from the JSON's raw numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from idiolect.evaluation.reports import text as words
from idiolect.stats.significance import PairedTestResult, bootstrap_mean_interval, run_paired_test
from suites.pieces.settings import SEED

TITLES = {"rating": "Film ratings", "reply": "Chat replies"}

Table = dict[str, Any]
Scores = Mapping[str, Mapping[str, Sequence[float]]]


def list_metrics(scores: Scores) -> list[str]:
    """What there is of everyone: MAE where answers are numbers, and nats."""
    return ["mae", "nats"] if scores["base"]["mae"] else ["nats", "perplexity"]


def get_scores(scores: Scores, name: str, metric: str) -> list[float]:
    """One way's scores, person by person."""
    if metric == "perplexity":
        return [math.exp(nats) for nats in scores[name]["nats"]]
    return list(scores[name][metric])


def compare_ways(scores: Scores, one: str, other: str, metric: str) -> PairedTestResult:
    """One way against another, paired by person; a gain is positive where the first is better."""
    a, b = get_scores(scores, one, metric), get_scores(scores, other, metric)
    return run_paired_test(a, b, direction="lower", seed=SEED)


def format_gain(test: PairedTestResult) -> str:
    """A gain with its interval and p."""
    return f"{test.gain:+.3f} ({test.interval[0]:+.3f} to {test.interval[1]:+.3f}), " + (
        f"p {words.format_p_cell(test.p)}"
    )


def format_mean(scores: Scores, name: str, metric: str) -> str:
    """A mean with its interval."""
    values = get_scores(scores, name, metric)
    low, high = bootstrap_mean_interval(values, seed=SEED)
    return f"{fmean(values):.3f} ({low:.3f}–{high:.3f})"


def list_headings(scores: Scores) -> list[str]:
    return [{"mae": "MAE", "nats": "nats"}.get(m, m) for m in list_metrics(scores)]


def compute_speedups(
    data: Mapping[str, Any], one: str, other: str, field: str = "seconds"
) -> list[float]:
    """How many times as much one way takes as another, group by group."""
    by = {(t["what"], t["group"]): t[field] for t in data["timed"]}
    groups = sorted({t["group"] for t in data["timed"]})
    return [by[one, g] / by[other, g] for g in groups if (one, g) in by and (other, g) in by]
