"""Tests of AUC, p-values and intervals against exhaustive counting and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from idiolect.errors import UsageError
from idiolect.stats.auc import AucResult, compute_auc

few = st.lists(st.integers(0, 6).map(float), min_size=4, max_size=6)


def compute_result(first: object, second: object, **options: float) -> AucResult:
    one = compute_auc(first, second, **options)  # pyright: ignore[reportArgumentType]
    assert one is not None
    return one


def count_auc_by_pairs(first: list[float], second: list[float]) -> float:
    """Return the probability that a value of the first group exceeds one of the second, pair by
    pair."""
    wins = sum((a > b) + (a == b) / 2 for a in first for b in second)
    return wins / (len(first) * len(second))


@settings(max_examples=40)
@given(few, few)
def test_compute_auc_matches_exhaustive_counts(first: list[float], second: list[float]) -> None:
    one = compute_result(first, second)
    auc = count_auc_by_pairs(first, second)
    assert one.auc == pytest.approx(auc)
    values = first + second
    drawn: list[float] = []
    # Enumerate all ways to split the values into groups of these sizes.
    for places in itertools.combinations(range(len(values)), len(first)):
        inside = [values[i] for i in places]
        outside = [v for i, v in enumerate(values) if i not in places]
        drawn.append(abs(count_auc_by_pairs(inside, outside) - 0.5))
    p = sum(d >= abs(auc - 0.5) - 1e-9 for d in drawn) / len(drawn)
    assert one.p == pytest.approx(p)
    assert one.by_chance == pytest.approx(0.5 + sum(drawn) / len(drawn))
    # Distances with a p-value below 5%.
    rare = [d for d in drawn if sum(e >= d - 1e-9 for e in drawn) / len(drawn) < 0.05]
    assert (one.detectable is None) == (not rare)
    if rare:
        assert one.detectable == pytest.approx(0.5 + min(rare))


@given(few, few)
def test_compute_auc_is_symmetric_under_swap(first: list[float], second: list[float]) -> None:
    one, other = compute_result(first, second), compute_result(second, first)
    assert other.auc == pytest.approx(1 - one.auc)
    assert other.interval == pytest.approx((1 - one.interval[1], 1 - one.interval[0]))
    assert other.two_sided_interval == pytest.approx(one.two_sided_interval)
    assert (other.two_sided, other.p) == pytest.approx((one.two_sided, one.p))
    assert one.interval[0] <= one.auc <= one.interval[1]
    low, high = one.two_sided_interval
    assert 0.5 <= low <= one.two_sided <= high <= 1


def test_compute_auc_returns_none_for_small_groups() -> None:
    assert compute_auc([1, 2, 3], range(100)) is None
    assert compute_auc(range(100), [1, 2, 3]) is None
    assert compute_auc([], []) is None
    assert compute_result([5, 6, 7, 8], [1, 2, 3, 4]).p == pytest.approx(2 / 70)


def test_compute_auc_of_constant_scores_is_one_half() -> None:
    one = compute_result([1.0] * 5, [1.0] * 9)
    assert (one.auc, one.two_sided, one.p, one.by_chance) == (0.5, 0.5, 1.0, 0.5)
    assert one.detectable is None
    many = compute_result([1.0] * 300, [1.0] * 300)
    assert (many.auc, many.p, many.detectable) == (0.5, 1.0, None)


def test_compute_auc_interval_has_width_without_overlap() -> None:
    one = compute_result(range(10, 14), range(4))
    assert one.auc == one.two_sided == one.detectable == 1
    assert one.interval[1] == 1
    assert 0.4 < one.interval[0] < 0.8
    assert compute_result(range(4), range(10, 14)).auc == 0


def test_compute_auc_interval_solves_newcombe_equation() -> None:
    """f(low) = auc - low - z se(low) is 0, with the variance written as in Newcombe's paper."""
    one = compute_result([3, 4, 6, 7, 9, 10], [1, 2, 3, 5, 8])
    for theta in one.interval:
        inner = (6 + 5) / 2 - 1
        shape = 1 + inner * (1 - theta) / (2 - theta) + inner * theta / (1 + theta)
        variance = theta * (1 - theta) * shape / 30
        assert abs(one.auc - theta) == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-6)


def test_compute_auc_normal_approximation_is_close_to_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    first, second = np.round(rng.normal(0.4, 1, 40), 1), np.round(rng.normal(0, 1, 30), 1)
    exact = compute_result(first, second)
    # Force the normal approximation.
    monkeypatch.setattr("idiolect.stats.auc._MAX_EXACT_ADDITIONS", 0)
    near = compute_result(first, second)
    assert near.p == pytest.approx(float(stats.mannwhitneyu(first, second, method="asymptotic")[1]))
    assert near != exact
    for name in ("p", "by_chance", "detectable"):
        assert getattr(near, name) == pytest.approx(getattr(exact, name), abs=0.004)
    assert compute_result(range(4), range(4, 8), level=1e-6).detectable is None


@pytest.mark.parametrize(("m", "n"), [(4, 4), (5, 12), (30, 8), (60, 60)])
def test_compute_auc_false_alarms_stay_at_level(m: int, n: int) -> None:
    """False alarms at 5% are at most about 5%, although the two-sided AUC is well above one
    half."""
    rng = np.random.default_rng(m)
    alarms, sizes = 0, []
    # Both groups come from the same distribution.
    for _ in range(300):
        one = compute_result(np.round(rng.normal(size=m), 1), np.round(rng.normal(size=n), 1))
        alarms += one.p < 0.05
        sizes.append(one.two_sided)
    assert alarms <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
    assert np.mean(sizes) == pytest.approx(
        0.5 + 0.4 * math.sqrt((m + n + 1) / (3 * m * n)), abs=0.03
    )


@pytest.mark.parametrize(("m", "n", "shift"), [(4, 6, 1.0), (12, 12, 0.5), (40, 10, 2.0)])
def test_compute_auc_intervals_have_nominal_coverage(m: int, n: int, shift: float) -> None:
    truth = 0.5 * (1 + math.erf(shift / 2))  # AUC of two normals with means a shift apart
    rng = np.random.default_rng(m)
    covered = 0
    for _ in range(300):
        low, high = compute_result(rng.normal(shift, 1, m), rng.normal(0, 1, n)).interval
        covered += low <= truth <= high
    assert covered >= 0.91 * 300


@pytest.mark.parametrize("broken", [[1, 2, 3, math.nan], [1, 2, 3, math.inf], [[1], [2], [3], [4]]])
def test_compute_auc_refuses_values_that_are_not_finite(broken: object) -> None:
    with pytest.raises(UsageError, match="expected one finite score per item"):
        compute_auc(broken, [1, 2, 3, 4])  # pyright: ignore[reportArgumentType]
