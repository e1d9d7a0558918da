"""Paired significance tests over people: is the difference between two methods real?

Takes arrays with one score per person. A person is the statistical unit: their queries are not
independent, so they are combined into one score first. Differences are *gains*: positive if the
method is better, for metrics of either direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from idiolect.errors import UsageError
from idiolect.stats.metrics import Direction

Floats = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE_LEVEL = 0.95
_MAX_EXACT_PEOPLE = 50
_CHUNK = 4_000_000
"""Maximum number of resampled indices in memory: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTestResult:
    """The comparison of one method with another on the same people."""

    people: int
    gain: float
    """Mean gain in the metric's unit; positive if the method is better."""
    interval: tuple[float, float]
    """95% bootstrap interval of the mean gain; people are resampled."""
    p: float
    """Two-sided Wilcoxon signed-rank test; people without a difference are left out."""
    dz: float | None
    """Cohen's dz: mean gain divided by its standard deviation; ``None`` if undefined."""
    rank_biserial: float
    """From -1 (all people worse) to 1 (all people better), by ranks of the gains."""
    wins: int
    ties: int
    losses: int


def run_paired_test(
    method: ArrayLike, against: ArrayLike, *, direction: Direction, seed: int
) -> PairedTestResult:
    """Compare two methods' scores of the same people, in the same order.

    Swapping the methods negates gain, interval and effect sizes, and keeps p. Raises UsageError if
    the arrays differ in length, are empty, or contain a value that is not finite.
    """
    a, b = _to_score_array(method), _to_score_array(against)
    if a.shape != b.shape:
        raise UsageError(f"paired scores differ in length: {a.size} and {b.size} people")
    # Positive gains mean that the method is better, whatever the metric's direction.
    gains = _compute_gains(a, b, direction)
    spread = float(np.std(gains, ddof=1)) if gains.size > 1 else 0.0
    mean = float(np.mean(gains))
    return PairedTestResult(
        people=gains.size,
        gain=mean,
        interval=bootstrap_mean_interval(gains, seed=seed),
        p=_compute_wilcoxon_p(gains),
        dz=mean / spread if spread > 0 else (0.0 if mean == 0 and gains.size > 1 else None),
        rank_biserial=_compute_rank_biserial(gains),
        wins=int(np.sum(gains > 0)),
        ties=int(np.sum(gains == 0)),
        losses=int(np.sum(gains < 0)),
    )


def bootstrap_mean_interval(
    values: ArrayLike, *, seed: int, resamples: int = RESAMPLES, level: float = CONFIDENCE_LEVEL
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean; equal seeds give equal resamples.

    With fewer than about ten values the interval is too narrow; with one value it is a point.
    """
    data = _to_score_array(values)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    # Resample in blocks to bound the memory. The blocks do not change the random draws.
    rows = max(1, _CHUNK // data.size)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        indices = rng.integers(0, data.size, (stop - start, data.size))
        means[start:stop] = data[indices].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compute_wilson_interval(
    count: int, of: int, *, level: float = CONFIDENCE_LEVEL
) -> tuple[float, float]:
    """Return Wilson's score interval of the proportion ``count / of``; (0, 1) if ``of`` is 0.

    Raises UsageError if ``count`` is not between 0 and ``of``.
    """
    if not 0 <= count <= of:
        raise UsageError(f"a proportion needs 0 <= count <= total; got {count} of {of}")
    if of == 0:
        return 0.0, 1.0
    test = cast("Any", stats.binomtest(count, of))  # pyright: ignore[reportUnknownMemberType]
    found = test.proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)


def adjust_holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Apply Holm's step-down adjustment: p-values that account for the whole family of tests."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        # Adjusted values must not decrease with the rank.
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def _to_score_array(values: ArrayLike) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0:
        raise UsageError(f"expected one score per person, got an array of shape {data.shape}")
    if not np.isfinite(data).all():
        raise UsageError("a score is not a finite number; look for a broken model or metric")
    return data


def _compute_gains(a: Floats, b: Floats, direction: Direction) -> Floats:
    """Return gains per person; differences that are only rounding error become exact ties."""
    gains = a - b if direction == "higher" else b - a
    # Round relative to the largest score, so that the result does not depend on the metric's unit.
    unit = max(float(np.abs(a).max()), float(np.abs(b).max())) or 1.0
    return np.round(gains / unit, 12) * unit


def _compute_wilcoxon_p(gains: Floats) -> float:
    """Return the two-sided p-value; exact for up to 50 people, even with tied ranks.

    SciPy's exact test does not support ties.
    """
    # People without a difference carry no information about its sign.
    moved = gains[gains != 0]
    if moved.size == 0:
        return 1.0
    if moved.size > _MAX_EXACT_PEOPLE:
        result = cast("Any", stats.wilcoxon(moved, method="approx"))  # pyright: ignore[reportUnknownMemberType]
        return float(result.pvalue)
    # Tied ranks are multiples of 1/2, so doubled ranks are integers. Build the null distribution
    # of the sum of the positive gains' ranks: each rank is included with probability 1/2.
    doubled = np.rint(2 * _rank_magnitudes(moved)).astype(np.int64)
    chances = np.zeros(int(doubled.sum()) + 1)
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] = (chances[rank:] + chances[: chances.size - rank]) / 2
        chances[:rank] /= 2
    reached = int(doubled[moved > 0].sum())
    tail = min(chances[: reached + 1].sum(), chances[reached:].sum())
    return min(1.0, 2 * float(tail))


def _rank_magnitudes(gains: Floats) -> Floats:
    """Rank the absolute gains; ties get their mean rank."""
    return cast("Floats", stats.rankdata(np.abs(gains)))  # pyright: ignore[reportUnknownMemberType]


def _compute_rank_biserial(gains: Floats) -> float:
    """Return the signed rank sum divided by the rank sum."""
    moved = gains[gains != 0]
    if moved.size == 0:
        return 0.0
    ranks = _rank_magnitudes(moved)
    return float((ranks * np.sign(moved)).sum() / ranks.sum())
