"""Tests of paired tests, bootstrap and Wilson intervals, and Holm's adjustment."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from idiolect.errors import UsageError
from idiolect.stats.significance import (
    adjust_holm,
    bootstrap_mean_interval,
    compute_wilson_interval,
    run_paired_test,
)

score = st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(score, score), min_size=1, max_size=15)


@settings(max_examples=40, deadline=None)
@given(pairs, st.sampled_from(["higher", "lower"]))
def test_run_paired_test_is_antisymmetric(data: list[tuple[float, float]], direction: str) -> None:
    a, b = zip(*data, strict=True)
    one = run_paired_test(a, b, direction=direction, seed=3)  # pyright: ignore[reportArgumentType]
    two = run_paired_test(b, a, direction=direction, seed=3)  # pyright: ignore[reportArgumentType]
    assert one.gain == -two.gain
    assert one.interval == pytest.approx((-two.interval[1], -two.interval[0]), abs=1e-9)
    assert one.p == pytest.approx(two.p)
    assert one.rank_biserial == pytest.approx(-two.rank_biserial)
    assert (one.wins, one.ties, one.losses) == (two.losses, two.ties, two.wins)
    assert one.wins + one.ties + one.losses == one.people == len(data)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_run_paired_test_matches_naive_counts_and_ranks(data: list[tuple[float, float]]) -> None:
    a, b = zip(*data, strict=True)
    result = run_paired_test(a, b, direction="lower", seed=0)
    assert result.wins == sum(round(y - x, 6) > 0 for x, y in data)
    assert result.losses == sum(round(y - x, 6) < 0 for x, y in data)
    moved = sorted((round(y - x, 6) for x, y in data if round(y - x, 6) != 0), key=abs)
    up = down = 0.0
    for gain in moved:
        # Tied gains share their mean rank.
        places = [i + 1 for i, other in enumerate(moved) if abs(other) == abs(gain)]
        rank = sum(places) / len(places)
        up, down = (up + rank, down) if gain > 0 else (up, down + rank)
    expected = (up - down) / (up + down) if moved else 0.0
    assert result.rank_biserial == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(score, min_size=1, max_size=12), st.integers(0, 2**32))
def test_bootstrap_mean_interval_is_within_values_and_repeatable(
    values: list[float], seed: int
) -> None:
    low, high = bootstrap_mean_interval(values, seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert (low, high) == bootstrap_mean_interval(values, seed=seed)


def test_bootstrap_mean_interval_matches_plain_loop() -> None:
    values = [0.2, 0.5, 0.9, 1.4, 0.1, 0.8, 0.3, 0.7]
    # Another random generator, so the result agrees only approximately.
    draw = random.Random(5)
    means = sorted(sum(draw.choices(values, k=8)) / 8 for _ in range(20_000))
    low, high = bootstrap_mean_interval(values, seed=1)
    assert low == pytest.approx(means[500], abs=0.015)
    assert high == pytest.approx(means[-500], abs=0.015)


def test_bootstrap_mean_interval_is_independent_of_chunk_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.linspace(0, 1, 30)
    whole = bootstrap_mean_interval(values, seed=2)
    monkeypatch.setattr("idiolect.stats.significance._CHUNK", 64)
    assert bootstrap_mean_interval(values, seed=2) == whole


def test_bootstrap_mean_interval_has_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    # The true mean is 0 in every trial.
    covered = 0
    for trial in range(200):
        low, high = bootstrap_mean_interval(rng.normal(0, 1, 40), seed=trial, resamples=500)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_run_paired_test_of_equal_scores_finds_nothing() -> None:
    result = run_paired_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], direction="lower", seed=0)
    assert (result.gain, result.interval, result.p) == (0.0, (0.0, 0.0), 1.0)
    assert (result.dz, result.rank_biserial, result.ties) == (0.0, 0.0, 3)


def test_run_paired_test_counts_rounding_errors_as_ties() -> None:
    result = run_paired_test([0.1 + 0.2, 1e6], [0.3, 1e6 + 1e-9], direction="higher", seed=0)
    assert (result.wins, result.ties, result.losses) == (0, 2, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_run_paired_test_p_is_exact_under_ties(gains: list[int]) -> None:
    moved = [g for g in gains if g]
    ranks = {
        size: sum(abs(g) < size for g in moved) + (sum(abs(g) == size for g in moved) + 1) / 2
        for size in map(abs, moved)
    }
    reached = sum(ranks[g] for g in moved if g > 0)
    # Enumerate all sign patterns.
    sums = [
        sum(ranks[abs(g)] for g, up in zip(moved, signs, strict=True) if up)
        for signs in itertools.product((False, True), repeat=len(moved))
    ]
    tail = min(sum(s <= reached for s in sums), sum(s >= reached for s in sums))
    expected = min(1.0, 2 * tail / len(sums))
    result = run_paired_test(gains, [0] * len(gains), direction="higher", seed=0)
    assert result.p == pytest.approx(expected)


@pytest.mark.parametrize(("people", "method"), [(20, "exact"), (50, "exact"), (80, "approx")])
def test_run_paired_test_p_equals_scipy(people: int, method: str) -> None:
    gains = np.random.default_rng(people).normal(0.2, 1, people)
    expected = stats.wilcoxon(gains, method=method).pvalue  # pyright: ignore
    result = run_paired_test(gains, np.zeros(people), direction="higher", seed=0)
    assert result.p == pytest.approx(expected)


def test_run_paired_test_matches_known_p_values() -> None:
    # All six people are better: 2 of the 2^6 sign patterns are as extreme.
    six = run_paired_test(range(1, 7), [0] * 6, direction="higher", seed=0)
    assert six.p == pytest.approx(2 / 64)
    assert six.dz == pytest.approx(3.5 / np.std(range(1, 7), ddof=1))
    assert run_paired_test([1, 1, 1, 1], [0] * 4, direction="higher", seed=0).p == pytest.approx(
        2 / 16
    )


def test_run_paired_test_dz_of_constant_gain_is_undefined() -> None:
    assert run_paired_test([2, 3], [1, 2], direction="higher", seed=0).dz is None
    assert run_paired_test([2], [1], direction="higher", seed=0).dz is None


def test_adjust_holm_matches_known_values() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert adjust_holm([0.9, 0.8]) == (1.0, 1.0)
    assert adjust_holm([]) == ()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [1.0, 2.0], "differ in length"),
        ([], [], "one score per person"),
        ([float("nan")], [1.0], "not a finite number"),
    ],
)
def test_run_paired_test_refuses_invalid_scores(
    a: list[float], b: list[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_paired_test(a, b, direction="higher", seed=0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_compute_wilson_interval_solves_its_equation(count: int, rest: int) -> None:
    low, high = compute_wilson_interval(count, count + rest)
    assert 0 <= low <= count / max(1, count + rest) + 1e-12 and high <= 1
    if not count + rest:
        assert (low, high) == (0.0, 1.0)
        return
    n, z = count + rest, 1.959964
    for end in (low, high):  # the ends solve (share - end)^2 = z^2 end (1 - end) / n
        assert (count / n - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-6)


def test_compute_wilson_interval_refuses_count_above_total() -> None:
    with pytest.raises(UsageError, match="got 3 of 2"):
        compute_wilson_interval(3, 2)
