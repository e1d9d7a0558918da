"""What a classifier is worth on pairs it never saw: accuracy, F1, AUC, calibration, with intervals.

Pairs of one base word are not independent of each other: intervals resample base words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from idiolect.config import derive_seed
from idiolect.game.classifier.examples import Example
from idiolect.game.classifier.model import Doubles

NUM_RESAMPLES = 500
NUM_BINS = 10

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricWithInterval:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierMetrics:
    """Figures of one classifier on one set of pairs."""

    pairs: int
    words: int
    accuracy: MetricWithInterval
    f1: MetricWithInterval
    auc: MetricWithInterval
    brier: MetricWithInterval
    calibration_error: MetricWithInterval
    """The mean distance between what it said and what was so, over ten equal bins."""


def compute_metrics(pairs: Sequence[Example], chances: Doubles, *, seed: int) -> ClassifierMetrics:
    """Figures of the probabilities ``chances`` [N] of the pairs."""
    labels = np.array([pair.related for pair in pairs], dtype=np.int64)
    words = {word: n for n, word in enumerate(sorted({pair.base_word for pair in pairs}))}
    groups = np.array([words[pair.base_word] for pair in pairs])
    rows = [np.flatnonzero(groups == n) for n in range(len(words))]
    draw = np.random.default_rng(derive_seed(seed, "judge"))
    drawn = [
        np.concatenate([rows[n] for n in draw.integers(0, len(rows), len(rows))])
        for _ in range(NUM_RESAMPLES)
    ]

    def bootstrap_interval(measure: Callable[[Labels, Doubles], float]) -> MetricWithInterval:
        values = [
            measure(labels[chosen], chances[chosen])
            for chosen in drawn
            if 0 < labels[chosen].sum() < len(chosen)
        ]
        low, high = np.quantile(values, [0.025, 0.975])
        return MetricWithInterval(value=measure(labels, chances), low=float(low), high=float(high))

    return ClassifierMetrics(
        pairs=len(pairs),
        words=len(words),
        accuracy=bootstrap_interval(lambda y, p: float(((p >= 0.5) == y).mean())),
        f1=bootstrap_interval(_compute_f1),
        auc=bootstrap_interval(_compute_auc),
        brier=bootstrap_interval(lambda y, p: float(np.mean((p - y) ** 2))),
        calibration_error=bootstrap_interval(_compute_calibration_error),
    )


def compute_auc_by_origin(
    pairs: Sequence[Example], chances: Doubles
) -> Mapping[str, tuple[int, float]]:
    """By the kind of false pair: how many there are, and how well true ones stand above them."""
    found: dict[str, tuple[int, float]] = {}
    for how in sorted({pair.how for pair in pairs if not pair.related}):
        chosen = [n for n, pair in enumerate(pairs) if pair.related or pair.how == how]
        labels = np.array([pairs[n].related for n in chosen], dtype=np.int64)
        found[how] = (int((labels == 0).sum()), _compute_auc(labels, chances[chosen]))
    return found


def _compute_auc(labels: Labels, chances: Doubles) -> float:
    """By ranks: scikit-learn's takes ten times as long, and here it is asked hundreds of times."""
    true = labels == 1
    m, n = int(true.sum()), int((~true).sum())
    return float((rankdata(chances)[true].sum() - m * (m + 1) / 2) / (m * n))


def _compute_f1(labels: Labels, chances: Doubles) -> float:
    said = chances >= 0.5
    return float(2 * (said & (labels == 1)).sum() / max(1, said.sum() + labels.sum()))


def _compute_calibration_error(labels: Labels, chances: Doubles) -> float:
    bins = np.minimum((chances * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(bins, weights=chances - labels, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(labels))
