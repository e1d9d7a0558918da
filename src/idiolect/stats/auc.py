"""How well a score tells two groups apart: the area under the ROC curve, also of few items.

Knows two lists of numbers; knows nothing of what they are scores of. Whoever looks at
``max(auc, 1 - auc)`` sees more than a half even where there is nothing: with few items much more.
Beside it stand therefore what chance alone gives, the exact chance of so much or more, and the
smallest value that could have been told from chance.
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
"""Items that each group must have. With 4 and 4 the two extreme ones of the 70 orders have
p = 2/70 = 0.03; with 3 and 4 it is 2/35 = 0.06, so nothing could be told from chance at 5%."""
_MAX_EXACT_ADDITIONS = 20_000_000
"""Additions up to which a null distribution is counted out; about 50 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AucResult:
    """How well values tell a first group from a second one."""

    first: int
    second: int
    """How many values each group has."""
    auc: float
    """The chance that a value of the first group is above one of the second, ties counting half."""
    interval: tuple[float, float]
    """Of ``auc``: at the level asked for, 95% unless told."""
    p: float
    """The chance that groups drawn from all these values at random are at least as far apart, in
    either direction."""
    by_chance: float
    """What ``two_sided`` is on average for such groups; above a half, and the fewer the more."""
    detectable: float | None
    """The smallest ``two_sided`` with a p below the level; ``None`` where there is none."""

    @property
    def two_sided(self) -> float:
        """The larger of ``auc`` and ``1 - auc``: either direction tells the groups apart."""
        return max(self.auc, 1 - self.auc)

    @property
    def two_sided_interval(self) -> tuple[float, float]:
        """What ``interval`` says of the two-sided value: from a half on where it holds a half."""
        low, high = self.interval
        ends = (max(low, 1 - low), max(high, 1 - high))
        return (0.5 if low <= 0.5 <= high else min(ends), max(ends))


def compute_auc(first: ArrayLike, second: ArrayLike, *, level: float = 0.05) -> AucResult | None:
    """How well a score tells two groups apart; ``None`` for fewer than ``LEAST`` values in one.

    Exact permutation test of the rank sum, ties or not; with many values in both groups its normal
    approximation. Interval: Newcombe's method 5 (Statistics in Medicine 25:559, 2006), which unlike
    a bootstrap has a width where the groups do not overlap. Raises UsageError for what is no finite
    number.
    """
    a, b = _to_finite_array(first), _to_finite_array(second)
    if min(a.size, b.size) < MIN_GROUP_SIZE:
        return None
    ranks = _double_ranks(np.concatenate([a, b]))
    m, n = a.size, b.size
    pairs = m * n
    auc = (int(ranks[:m].sum()) - m * (m + 1)) / (2 * pairs)
    # |rank sum - its mean| is the same for both groups, so the null of the smaller one serves both.
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
        raise UsageError("scores to be told apart: one finite number an item; look for a NaN")
    return data


def _double_ranks(values: Floats) -> NDArray[np.int64]:
    """Twice the rank of each value: tied ranks are halves, so these are whole."""
    ranks = cast("Floats", stats.rankdata(values))  # pyright: ignore[reportUnknownMemberType]
    return np.rint(2 * ranks).astype(np.int64)


def _count_additions(ranks: NDArray[np.int64], k: int) -> int:
    return ranks.size * k * int(np.sort(ranks)[-k:].sum())


def _run_exact_test(
    ranks: NDArray[np.int64], k: int, apart: int, level: float
) -> tuple[float, float, float | None]:
    """p, the mean distance, and the least one with p < level, over all choices of ``k`` ranks.

    Distances are those of the doubled rank sum from its mean.
    """
    top = int(np.sort(ranks)[-k:].sum())
    ways = np.zeros((k + 1, top + 1))  # [how many are chosen, their sum]
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    chances = ways[k] / ways[k].sum()
    distances = np.abs(np.arange(top + 1) - k * (ranks.size + 1))
    by_distance = np.bincount(distances, weights=chances)
    beyond = np.minimum(1.0, np.cumsum(by_distance[::-1])[::-1])  # [distance]: so much or more
    rare = np.flatnonzero((by_distance > 0) & (beyond < level))
    mean = float((by_distance * np.arange(by_distance.size)).sum())
    return float(beyond[apart]), mean, float(rare[0]) if rare.size else None


def _run_normal_test(
    ranks: NDArray[np.int64], k: int, apart: int, level: float
) -> tuple[float, float, float | None]:
    """The same by the normal distribution with the ranks' own variance and continuity of 1/2."""
    size = ranks.size
    spread = float(ranks.std()) * math.sqrt(k * (size - k) / (size - 1))
    if spread == 0:
        return 1.0, 0.0, None
    p = 2 * float(cast("Any", stats.norm).sf(max(0, apart - 1) / spread))
    least = 1 + spread * float(cast("Any", stats.norm).isf(level / 2))
    reachable = least <= k * (size - k)  # no overlap at all
    return min(1.0, p), spread * math.sqrt(2 / math.pi), least if reachable else None


def _compute_interval(auc: float, m: int, n: int, level: float) -> tuple[float, float]:
    z = float(cast("Any", stats.norm).isf(level / 2))
    return _solve_lower_bound(auc, m, n, z), 1 - _solve_lower_bound(1 - auc, m, n, z)


def _solve_lower_bound(auc: float, m: int, n: int, z: float) -> float:
    """The value below ``auc`` from which it is ``z`` of that value's own standard errors away.

    Hanley and McNeil's variance, both counts in its inner terms replaced by their mean.
    """
    if auc <= 0:
        return 0.0
    inner = (m + n) / 2 - 1

    def compute_excess(value: float) -> float:
        shape = 1 + inner * ((1 - value) / (2 - value) + value / (1 + value))
        return auc - value - z * math.sqrt(value * (1 - value) * shape / (m * n))

    end = min(auc, 1 - 1e-9)  # at 1 itself the variance is 0: a root that says nothing
    return float(cast("Any", optimize).brentq(compute_excess, 0.0, end))
