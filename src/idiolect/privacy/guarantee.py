"""What differential privacy promises for one adapter, as a value, and what it means in words.

A mechanism adds Gaussian noise to a sum in which one record (or person) changes at most ``clip``.
``multiplier`` is the noise's standard deviation in units of ``clip``. Several mechanisms together
are as revealing as one with the root of the sum of ``steps / multiplier**2`` (Gaussian differential
privacy; Dong, Roth and Su, 2022). Depends on nothing but numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Mechanism = tuple[float, int]
"""(noise multiplier, number of steps) of one training."""


Unit = Literal["record", "person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyGuarantee:
    """The guarantee of one training, and of all private trainings of the same person together."""

    unit: Unit
    """What may be in the data or not without a visible difference."""
    epsilon: float
    delta: float
    steps: int
    multiplier: float
    """Standard deviation of the noise of a step, in units of ``clip``."""
    clip: float
    """The largest norm of one record's (or person's) contribution to a step."""
    rounded_count: int
    """Number of records (or people), rounded up to a power of two: it counts as public."""
    basis: str = ""
    """SHA-256 of the directions along which the adapter moved; empty if there are none."""
    trainings: int = 1
    """Number of private trainings on this person's data, this one included."""
    total_epsilon: float
    """The epsilon of all of them together, at the same delta."""
    total_accuracy: float
    """Share of cases in which the best test on all these adapters is right (see
    ``compute_best_accuracy``)."""
    unprotected: int = 0
    """Number of earlier trainings without privacy, which no total can include."""

    @property
    def sentence(self) -> str:
        """The guarantee as a sentence for the person."""
        which = "adapter" if self.trainings == 1 else f"{self.trainings} adapters"
        cases = math.ceil(100 * self.total_accuracy)
        return (
            f"With the {which} and all other {_PLURALS[self.unit]}, the best possible test tells "
            f"whether one given {self.unit} was used in at most {cases} of 100 cases; guessing is "
            "right in 50 of 100."
            + (" Earlier adapters without privacy are not counted." if self.unprotected else "")
        )


_PLURALS = {"record": "records", "person": "people"}


def compute_best_accuracy(mechanisms: Sequence[Mechanism]) -> float:
    """Return the share of cases in which the best test for one record is right.

    The record is present in half of the cases, and the test sees the results of all mechanisms.
    Guessing reaches 0.5.
    """
    distance = math.sqrt(sum(steps / multiplier**2 for multiplier, steps in mechanisms))
    return NormalDist().cdf(distance / 2)


def round_up_count(count: int) -> int:
    """Return the smallest power of two that is at least ``count``."""
    return 1 << max(0, count - 1).bit_length()
