"""Whether a difference between two methods is real: paired tests over people.

Knows arrays of one score per person; knows no metric beyond which way is better. A person is the
unit: their queries are not independent of each other, so they are scored together first.
Differences are given as *gains*: positive where the method is better, whatever the metric.
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
"""Resampled indices held at once: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTestResult:
    """One method against another on the same people."""

    people: int
    gain: float
    """Mean gain in the metric's unit, positive where the method is better."""
    interval: tuple[float, float]
    """95% bootstrap interval of the mean gain, people resampled."""
    p: float
    """Two-sided Wilcoxon signed-rank test, people without a difference left out."""
    dz: float | None
    """Cohen's dz, mean gain over its standard deviation; ``None`` where that is not defined."""
    rank_biserial: float
    """From -1 (everyone worse) to 1 (everyone better), by ranks of the gains."""
    wins: int
    ties: int
    losses: int


def run_paired_test(
    method: ArrayLike, against: ArrayLike, *, direction: Direction, seed: int
) -> PairedTestResult:
    """Compare two methods' scores of the same people, in the same order.

    Swapping the two negates gain, interval and effect sizes and keeps p.
    """
    a, b = _to_score_array(method), _to_score_array(against)
    if a.shape != b.shape:
        raise UsageError(f"paired scores differ in length: {a.size} and {b.size} people")
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
    """Percentile bootstrap interval of the mean; the same seed resamples the same places.

    With fewer than about ten values it is too narrow, and with one it is a point.
    """
    data = _to_score_array(values)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, _CHUNK // data.size)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        places = rng.integers(0, data.size, (stop - start, data.size))
        means[start:stop] = data[places].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compute_wilson_interval(
    count: int, of: int, *, level: float = CONFIDENCE_LEVEL
) -> tuple[float, float]:
    """Wilson's score interval of a share, ``count`` of ``of`` independent cases; 0 to 1 for none.

    Raises UsageError for a count that is no part of the whole.
    """
    if not 0 <= count <= of:
        raise UsageError(f"a share is a part of a whole: {count} of {of} is none")
    if of == 0:
        return 0.0, 1.0
    test = cast("Any", stats.binomtest(count, of))  # pyright: ignore[reportUnknownMemberType]
    found = test.proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)


def adjust_holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment: p-values that hold for the whole family of tests."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return tuple(adjusted)


def _to_score_array(values: ArrayLike) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0:
        raise UsageError(f"expected one score a person, got an array of shape {data.shape}")
    if not np.isfinite(data).all():
        raise UsageError("a score is not a finite number; look for a broken model or metric")
    return data


def _compute_gains(a: Floats, b: Floats, direction: Direction) -> Floats:
    """Gains per person, with what is only rounding error made an exact tie."""
    gains = a - b if direction == "higher" else b - a
    unit = max(float(np.abs(a).max()), float(np.abs(b).max())) or 1.0
    return np.round(gains / unit, 12) * unit


def _compute_wilcoxon_p(gains: Floats) -> float:
    """Exact for up to 50 people, tied ranks or not (SciPy's exact test takes no ties)."""
    moved = gains[gains != 0]
    if moved.size == 0:
        return 1.0
    if moved.size > _MAX_EXACT_PEOPLE:
        result = cast("Any", stats.wilcoxon(moved, method="approx"))  # pyright: ignore[reportUnknownMemberType]
        return float(result.pvalue)
    # Tied ranks are halves: twice the rank is whole. Build the null distribution of the sum of the
    # ranks of gains, each rank in or out with the same chance.
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
    return cast("Floats", stats.rankdata(np.abs(gains)))  # pyright: ignore[reportUnknownMemberType]


def _compute_rank_biserial(gains: Floats) -> float:
    moved = gains[gains != 0]
    if moved.size == 0:
        return 0.0
    ranks = _rank_magnitudes(moved)
    return float((ranks * np.sign(moved)).sum() / ranks.sum())
