"""Separation of two groups by a score: the area under the ROC curve (AUC), also for small groups.

Takes two lists of numbers; it does not matter what they are scores of. ``max(auc, 1 - auc)`` is
above 0.5 even for random scores, and far above it for small groups. The result therefore also has
the expected value by chance, the exact p-value, and the smallest value that could have been
significant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats  # pyright: ignore[reportMissingTypeStubs]

from idiolect.errors import UsageError

Floats = NDArray[np.float64]

MIN_GROUP_SIZE = 4
"""Minimum number of values per group.

With 4 and 4 values, the two most extreme of the 70 orders have p = 2/70 = 0.03. With 3 and 4 it is
2/35 = 0.06, so nothing could be significant at 5%.
"""
_MAX_EXACT_ADDITIONS = 20_000_000
"""Maximum number of additions for the exact null distribution; takes about 50 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AucResult:
    """How well a score separates a first group from a second one."""

    first: int
    second: int
    """The number of values in each group."""
    auc: float
    """Probability that a value of the first group exceeds one of the second; ties count half."""
    interval: tuple[float, float]
    """Confidence interval of ``auc``, at the requested level (default 95%)."""
    p: float
    """Probability that random groups of these values are at least as far apart, in either
    direction."""
    by_chance: float
    """Mean of ``two_sided`` over such random groups; above 0.5, and larger for smaller groups."""
    detectable: float | None
    """The smallest ``two_sided`` with a p-value below the level; ``None`` if no value has one."""

    @property
    def two_sided(self) -> float:
        """The larger of ``auc`` and ``1 - auc``: either direction separates the groups."""
        return max(self.auc, 1 - self.auc)

    @property
    def two_sided_interval(self) -> tuple[float, float]:
        """The interval of ``two_sided``; it starts at 0.5 if ``interval`` contains 0.5."""
        # Map both ends to the side above one half; the smaller value is the new lower end.
        low, high = self.interval
        ends = (max(low, 1 - low), max(high, 1 - high))
        return (0.5 if low <= 0.5 <= high else min(ends), max(ends))


def compute_auc(first: ArrayLike, second: ArrayLike, *, level: float = 0.05) -> AucResult | None:
    """Compute the AUC of two groups, with p-value and interval.

    Returns ``None`` if a group has fewer than ``MIN_GROUP_SIZE`` values. The p-value is the exact
    permutation test of the rank sum, with or without ties; if both groups are large, its normal
    approximation. The interval is Newcombe's method 5 (Statistics in Medicine 25:559, 2006). Unlike
    a bootstrap interval, it has a width even if the groups do not overlap. Raises UsageError if a
    value is not a finite number.
    """
    a, b = _to_finite_array(first), _to_finite_array(second)
    if min(a.size, b.size) < MIN_GROUP_SIZE:
        return None
    ranks = _double_ranks(np.concatenate([a, b]))
    m, n = a.size, b.size
    pairs = m * n
    # Mann-Whitney: the rank sum gives the number of pairs in which the first group wins.
    auc = (int(ranks[:m].sum()) - m * (m + 1)) / (2 * pairs)
    # |rank sum - mean| is the same for both groups: use the null distribution of the smaller one.
    apart = abs(int(ranks[:m].sum()) - m * (m + n + 1))
    k = min(m, n)
    if _count_additions(ranks, k) <= _MAX_EXACT_ADDITIONS:
        p, mean, least = _run_exact_test(ranks, k, apart, level)
    else:
        p, mean, least = _run_normal_test(ranks, k, apart, level)
    return AucResult(
        first=m,
        second=n,
        auc=auc,
        interval=_compute_interval(auc, m, n, level),
        p=p,
        by_chance=0.5 + mean / (2 * pairs),
        detectable=None if least is None else 0.5 + least / (2 * pairs),
    )


def _to_finite_array(values: ArrayLike) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not np.isfinite(data).all():
        raise UsageError("expected one finite score per item; look for a NaN")
    return data


def _double_ranks(values: Floats) -> NDArray[np.int64]:
    """Return twice the rank of each value. Tied ranks are multiples of 1/2, so these are
    integers."""
    ranks = cast("Floats", stats.rankdata(values))  # pyright: ignore[reportUnknownMemberType]
    return np.rint(2 * ranks).astype(np.int64)


def _count_additions(ranks: NDArray[np.int64], k: int) -> int:
    """Count the additions that the exact null distribution needs."""
    return ranks.size * k * int(np.sort(ranks)[-k:].sum())


def _run_exact_test(
    ranks: NDArray[np.int64], k: int, apart: int, level: float
) -> tuple[float, float, float | None]:
    """Return p, the mean distance, and the smallest distance with p < ``level``.

    The null distribution is over all choices of ``k`` of the doubled ``ranks``. A distance is that
    of the doubled rank sum from its mean; ``apart`` is the observed one.
    """
    top = int(np.sort(ranks)[-k:].sum())
    # Dynamic programming over the ranks: ways[c, s] = number of ways to choose c ranks with sum s.
    ways = np.zeros((k + 1, top + 1))  # [number chosen, sum]
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    chances = ways[k] / ways[k].sum()
    # Fold the distribution of the sum into one of its distance from the mean.
    distances = np.abs(np.arange(top + 1) - k * (ranks.size + 1))
    by_distance = np.bincount(distances, weights=chances)
    beyond = np.minimum(1.0, np.cumsum(by_distance[::-1])[::-1])  # [d]: P(distance >= d)
    rare = np.flatnonzero((by_distance > 0) & (beyond < level))
    mean = float((by_distance * np.arange(by_distance.size)).sum())
    return float(beyond[apart]), mean, float(rare[0]) if rare.size else None


def _run_normal_test(
    ranks: NDArray[np.int64], k: int, apart: int, level: float
) -> tuple[float, float, float | None]:
    """Like ``_run_exact_test``, by a normal approximation.

    Uses the variance of the ranks (which accounts for ties) and a continuity correction of 1/2.
    """
    size = ranks.size
    # Standard deviation of a sum of k ranks drawn without replacement.
    spread = float(ranks.std()) * math.sqrt(k * (size - k) / (size - 1))
    if spread == 0:
        return 1.0, 0.0, None
    p = 2 * float(cast("Any", stats.norm).sf(max(0, apart - 1) / spread))
    # The smallest distance that is significant at the level, if any distance is.
    least = 1 + spread * float(cast("Any", stats.norm).isf(level / 2))
    reachable = least <= k * (size - k)  # the largest distance: no overlap
    return min(1.0, p), spread * math.sqrt(2 / math.pi), least if reachable else None


def _compute_interval(auc: float, m: int, n: int, level: float) -> tuple[float, float]:
    """Return Newcombe's interval; the upper bound is the lower bound of the mirrored problem."""
    z = float(cast("Any", stats.norm).isf(level / 2))
    return _solve_lower_bound(auc, m, n, z), 1 - _solve_lower_bound(1 - auc, m, n, z)


def _solve_lower_bound(auc: float, m: int, n: int, z: float) -> float:
    """Return the value v below ``auc`` for which ``auc - v = z * standard_error(v)``.

    The standard error is Hanley and McNeil's, with both counts in the inner terms replaced by their
    mean.
    """
    if auc <= 0:
        return 0.0
    inner = (m + n) / 2 - 1

    def compute_excess(value: float) -> float:
        shape = 1 + inner * ((1 - value) / (2 - value) + value / (1 + value))
        return auc - value - z * math.sqrt(value * (1 - value) * shape / (m * n))

    end = min(auc, 1 - 1e-9)  # at 1 the variance is 0, which is a trivial root
    return float(cast("Any", optimize).brentq(compute_excess, 0.0, end))
