"""The accountant against the exact figures of Gaussian noise, which have a closed form."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from idiolect.errors import UsageError
from idiolect.privacy.guarantee import compute_best_accuracy
from idiolect.training.private.accounting import (
    compute_epsilon,
    compute_multiplier,
    make_guarantee,
)

pytestmark = pytest.mark.finding("private-training")


def compute_exact_delta(epsilon: float, multiplier: float, steps: int) -> float:
    """The smallest delta of Gaussian noise (Balle and Wang, 2018, Theorem 8)."""
    distance, cdf = math.sqrt(steps) / multiplier, NormalDist().cdf
    return cdf(distance / 2 - epsilon / distance) - math.exp(epsilon) * cdf(
        -distance / 2 - epsilon / distance
    )


def test_compute_multiplier_of_known_case() -> None:
    """40 records, 20 steps over all of them, epsilon 8, delta 1 / (10 * 40)."""
    assert compute_multiplier(8, 1 / 400, 20) == pytest.approx(2.2, abs=0.3)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_compute_multiplier_is_enough_and_not_wasteful(epsilon: float, steps: int) -> None:
    multiplier = compute_multiplier(epsilon, 1e-5, steps)
    assert compute_exact_delta(epsilon, multiplier, steps) <= 1e-5
    # A fifth less noise would break the promise.
    assert compute_exact_delta(epsilon, multiplier / 1.2, steps) > 1e-5


def test_compute_epsilon_of_two_trainings_equals_one_of_all_steps() -> None:
    twice = compute_epsilon([(3.0, 4), (3.0, 4)], 1e-5)
    assert twice == pytest.approx(compute_epsilon([(3.0, 8)], 1e-5))
    assert twice > compute_epsilon([(3.0, 4)], 1e-5)


def test_compute_multiplier_rejects_hopeless_epsilon() -> None:
    with pytest.raises(UsageError, match="too small"):
        compute_multiplier(1e-9, 1e-5, 4)


def test_compute_best_accuracy_is_that_of_likelihood_ratio_test() -> None:
    # One record shifts a normal draw by 1 with standard deviation 2: threshold at the middle.
    assert compute_best_accuracy([(2.0, 1)]) == pytest.approx(NormalDist(0, 2).cdf(0.5))
    assert compute_best_accuracy([(2.0, 1)] * 4) == compute_best_accuracy([(2.0, 4)])


def test_make_guarantee_sums_up_earlier_trainings() -> None:
    one = make_guarantee(
        unit="record", epsilon=8, delta=1e-5, mechanism=(1.2, 4), clip=1.0, rounded_count=64
    )
    assert (one.trainings, one.total_epsilon) == (1, 8)
    again = make_guarantee(
        unit="record",
        epsilon=8,
        delta=1e-5,
        mechanism=(1.2, 4),
        clip=1.0,
        rounded_count=64,
        earlier=[(1.2, 4)],
    )
    assert again.trainings == 2 and 8 < again.total_epsilon < 16
    assert again.total_accuracy > one.total_accuracy > 0.5
    assert "2 adapters" in again.sentence and "of 100 cases" in one.sentence
