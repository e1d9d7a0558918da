"""How far to go: the largest scale that retain text bears, found by trying; knows no model.

``cost_at(scale)`` is the perplexity on held-out retain text, divided by what it was before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from idiolect.errors import UsageError

MAX_SCALE = 64.0
MIN_SCALE = 1 / 64
BISECTION_STEPS = 5
"""Steps of the bisection; the scale is then found to about 2 percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChoice:
    """A scale and what it costs: held-out retain perplexity after, divided by that before."""

    scale: float
    cost: float


def find_largest_scale(
    cost_at: Callable[[float], float], bound: float, *, most: float = MAX_SCALE
) -> ScaleChoice:
    """The largest scale up to ``most`` whose cost stays within ``bound``.

    Tries ``min(1, most)`` and doubles or halves from there until the bound lies in between, then
    bisects. It takes cost to grow with scale; where it does not, the result is still within the
    bound, but a larger one might be too. Raises UsageError where not even ``LEAST`` is.
    """
    good = ScaleChoice(scale=min(1.0, most), cost=cost_at(min(1.0, most)))
    if _is_within(good, bound):
        bad = None
        while bad is None and good.scale < most:
            further = min(2 * good.scale, most)
            tried = ScaleChoice(scale=further, cost=cost_at(further))
            good, bad = (tried, None) if _is_within(tried, bound) else (good, tried)
    else:
        bad = good
        while not _is_within(good, bound):
            bad = good
            if bad.scale <= MIN_SCALE:
                raise UsageError(
                    f"no scale from {MIN_SCALE:g} on keeps retain perplexity within {bound:g} "
                    "times "
                    f"what it was ({MIN_SCALE:g} makes it {bad.cost:.3g} times); train less (fewer "
                    "train.steps, a lower train.rate), or raise the bound"
                )
            good = ScaleChoice(scale=bad.scale / 2, cost=cost_at(bad.scale / 2))
    for _ in range(BISECTION_STEPS if bad is not None else 0):
        assert bad is not None
        middle = (good.scale + bad.scale) / 2
        tried = ScaleChoice(scale=middle, cost=cost_at(middle))
        good, bad = (tried, bad) if _is_within(tried, bound) else (good, tried)
    return good


def check_given_scale(cost_at: Callable[[float], float], scale: float, guard: float) -> ScaleChoice:
    """The scale that was asked for; raises UsageError where it breaks the model."""
    chosen = ScaleChoice(scale=scale, cost=cost_at(scale))
    if not _is_within(chosen, guard):
        raise UsageError(
            f"scale {scale:g} makes retain perplexity {chosen.cost:.3g} times what it was, more "
            f"than the guard of {guard:g} allows; nothing was written: take a smaller scale, "
            "'auto', or a higher guard"
        )
    return chosen


def _is_within(chosen: ScaleChoice, bound: float) -> bool:
    return math.isfinite(chosen.cost) and chosen.cost <= bound
