"""Searches for the largest scale of a delta whose cost on retain text stays within a bound.

``cost_at(scale)`` is the perplexity on held-out retain text divided by its value before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from idiolect.errors import UsageError

MAX_SCALE = 64.0
MIN_SCALE = 1 / 64
BISECTION_STEPS = 5
"""Number of bisection steps; the scale is then known to about 2 percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChoice:
    """A scale and its cost: held-out retain perplexity after, divided by that before."""

    scale: float
    cost: float


def find_largest_scale(
    cost_at: Callable[[float], float], bound: float, *, most: float = MAX_SCALE
) -> ScaleChoice:
    """Return the largest scale up to ``most`` whose cost stays within ``bound``.

    Starts at ``min(1, most)``, doubles or halves until the bound is bracketed, then bisects. The
    search assumes that cost grows with scale. If it does not, the result is still within the bound,
    but a larger scale might be as well. Raises UsageError if even ``MIN_SCALE`` exceeds the bound.
    """
    # Invariant from here on: ``good`` is the largest scale known to be within the bound, and
    # ``bad`` the smallest one known to exceed it.
    good = ScaleChoice(scale=min(1.0, most), cost=cost_at(min(1.0, most)))
    if _is_within(good, bound):
        # Double until the bound is exceeded or ``most`` is reached.
        bad = None
        while bad is None and good.scale < most:
            further = min(2 * good.scale, most)
            tried = ScaleChoice(scale=further, cost=cost_at(further))
            good, bad = (tried, None) if _is_within(tried, bound) else (good, tried)
    else:
        # Halve until the cost is within the bound.
        bad = good
        while not _is_within(good, bound):
            bad = good
            if bad.scale <= MIN_SCALE:
                raise UsageError(
                    f"no scale from {MIN_SCALE:g} up keeps the retain perplexity within {bound:g} "
                    f"times its value before ({MIN_SCALE:g} gives {bad.cost:.3g} times); train "
                    "less (fewer train.steps, a lower train.rate), or raise the bound"
                )
            good = ScaleChoice(scale=bad.scale / 2, cost=cost_at(bad.scale / 2))
    # The bound lies between ``good`` and ``bad``: bisect.
    for _ in range(BISECTION_STEPS if bad is not None else 0):
        assert bad is not None
        middle = (good.scale + bad.scale) / 2
        tried = ScaleChoice(scale=middle, cost=cost_at(middle))
        good, bad = (tried, bad) if _is_within(tried, bound) else (good, tried)
    return good


def check_given_scale(cost_at: Callable[[float], float], scale: float, guard: float) -> ScaleChoice:
    """Return the explicit scale with its cost. Raises UsageError if the cost exceeds ``guard``."""
    chosen = ScaleChoice(scale=scale, cost=cost_at(scale))
    if not _is_within(chosen, guard):
        raise UsageError(
            f"scale {scale:g} makes the retain perplexity {chosen.cost:.3g} times its value "
            f"before; the guard is {guard:g}, so nothing was written: use a smaller scale, "
            "'auto', or a higher guard"
        )
    return chosen


def _is_within(chosen: ScaleChoice, bound: float) -> bool:
    return math.isfinite(chosen.cost) and chosen.cost <= bound
