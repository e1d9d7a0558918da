"""The accountant: from epsilon and delta to the noise, and back. Opacus does the mathematics.

It composes Renyi divergences (Mironov, 2017), which are exact for Gaussian noise on all records,
and converts them to epsilon by Theorem 21 of Balle et al. (2020): an upper bound, about a tenth
above the exact value.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from idiolect.errors import UsageError
from idiolect.privacy.guarantee import (
    Mechanism,
    PrivacyGuarantee,
    Unit,
    compute_best_accuracy,
)

_ORDERS = [1 + 1.05**power / 100 for power in range(400)]
"""Orders of the Renyi divergence, from 1.01 to 3 million. The smallest epsilon over all of them is
valid."""
_MAX_MULTIPLIER = 1e4
_PRECISION = 1e-4
"""Relative precision of a noise multiplier; the larger bound is returned."""


def compute_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Return the epsilon of all mechanisms together at this delta."""
    # Imported here: it takes seconds, and only private training needs it.
    from opacus.accountants.analysis import rdp

    total = np.zeros(len(_ORDERS))
    for multiplier, steps in mechanisms:
        # Sampling rate 1: each step uses all records.
        total += rdp.compute_rdp(q=1.0, noise_multiplier=multiplier, steps=steps, orders=_ORDERS)
    with warnings.catch_warnings():
        # It warns if the last order is the best: a valid bound that could be tighter.
        warnings.simplefilter("ignore", UserWarning)
        epsilon, _ = rdp.get_privacy_spent(orders=_ORDERS, rdp=[*map(float, total)], delta=delta)
    return float(epsilon)


def compute_multiplier(epsilon: float, delta: float, steps: int) -> float:
    """Return the smallest noise multiplier with which ``steps`` steps stay within epsilon.

    Raises UsageError if no multiplier up to 10,000 is enough.
    """
    low, high = 0.0, 1.0
    while compute_epsilon([(high, steps)], delta) > epsilon:
        low, high = high, 2 * high
        if high > _MAX_MULTIPLIER:
            raise UsageError(f"private: epsilon {epsilon} is too small for delta {delta}")
    # ``high`` always satisfies the bound.
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        enough = compute_epsilon([(middle, steps)], delta) <= epsilon
        low, high = (low, middle) if enough else (middle, high)
    return high


def make_guarantee(
    *,
    unit: Unit,
    epsilon: float,
    delta: float,
    mechanism: Mechanism,
    clip: float,
    rounded_count: int,
    basis: str = "",
    earlier: Sequence[Mechanism] = (),
    unprotected: int = 0,
) -> PrivacyGuarantee:
    """Return the guarantee of one training that follows the ``earlier`` ones on the same data."""
    everything = [*earlier, mechanism]
    total = compute_epsilon(everything, delta) if earlier else epsilon
    return PrivacyGuarantee(
        unit=unit,
        epsilon=epsilon,
        delta=delta,
        steps=mechanism[1],
        multiplier=mechanism[0],
        clip=clip,
        rounded_count=rounded_count,
        basis=basis,
        trainings=len(everything),
        total_epsilon=total,
        total_accuracy=compute_best_accuracy(everything),
        unprotected=unprotected,
    )
