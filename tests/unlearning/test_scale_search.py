"""The search for the largest scale, on synthetic cost functions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import UsageError
from idiolect.unlearning.scale_search import (
    BISECTION_STEPS,
    MAX_SCALE,
    MIN_SCALE,
    check_given_scale,
    find_largest_scale,
)


@given(st.floats(0.02, 60), st.floats(1.01, 3))
def test_find_largest_scale_approaches_bound_from_below(limit: float, bound: float) -> None:
    """Costs reach the bound at ``limit``: the result stays within the bound, and is close to the
    limit."""
    tried: list[float] = []

    def cost_at(scale: float) -> float:
        tried.append(scale)
        return 1 + (bound - 1) * (scale / limit) ** 2

    chosen = find_largest_scale(cost_at, bound)
    assert chosen.cost == cost_at(chosen.scale) <= bound
    rounding = 1e-9  # of the costs
    assert limit * (1 - 2**-BISECTION_STEPS - rounding) <= chosen.scale <= limit * (1 + rounding)
    assert len(tried) < 16


def test_find_largest_scale_stops_at_upper_limit() -> None:
    assert find_largest_scale(lambda _: 1.0, 1.05).scale == MAX_SCALE
    assert find_largest_scale(lambda _: 1.0, 1.05, most=1.0).scale == 1.0
    assert find_largest_scale(lambda s: 1.0 if s <= 0.5 else 2.0, 1.05, most=1.0).scale == 0.5


@pytest.mark.parametrize("broken", [math.inf, math.nan, 7.0])
def test_scale_search_rejects_scales_that_break_the_model(broken: float) -> None:
    chosen = find_largest_scale(lambda s: 1.0 if s < 3 else broken, 1.05)
    assert 2.9 < chosen.scale < 3
    with pytest.raises(UsageError, match=r"no scale from 0\.015625 up keeps .* 1\.05 times"):
        find_largest_scale(lambda s: 1.0 if s < MIN_SCALE else broken, 1.05)
    with pytest.raises(UsageError, match=r"scale 4 makes .* guard is 1\.5, .* nothing was written"):
        check_given_scale(lambda s: broken, 4.0, 1.5)
    assert check_given_scale(lambda s: 1.4, 4.0, 1.5).cost == 1.4
