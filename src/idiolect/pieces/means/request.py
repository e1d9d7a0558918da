"""One call of ``mean`` as a value; does not import torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.errors import UsageError

MIN_PEOPLE = 5
"""A mean of fewer people is almost each one's own adapter."""
PRIVATE_CLIP = 3.0
"""The largest norm of a person's B in a private mean: a constant, chosen without looking at these
people. On film ratings, the norm of a person's B is 2 to 5 (docs/notes/private.md)."""


@dataclass(frozen=True, kw_only=True)
class MeanRequest:
    """The people whose adapters become one, and what is checked and added on the way.

    Raises UsageError if fields exclude each other.
    """

    store: Path
    """Folder of the adapters."""
    people: Sequence[str]
    """Ids of the people; at least five."""
    out: Path
    """Folder to write; must not exist, or be empty."""
    data: Path | None = None
    """Folder of the dataset that the adapters were trained on, for the leakage audit; required
    unless ``override_leakage`` is given."""
    directions: int = 0
    """Also write this number of directions in which the people differ: a basis for private
    training. At most half as many as people; the adapters must share one A."""
    private: float | None = None
    """Add noise, so that the mean shows little about any one person: person-level differential
    privacy at this epsilon. The adapters must share one A."""
    clip: float | None = None
    """The largest norm of one person's update; the median of the people's norms if ``None``, and
    with ``private`` a constant."""
    base: str | None = None
    """Current location of the store's base model, if it has moved."""
    profiles: Path | None = None
    """Folder of profiles, if the adapters were trained with profiles."""
    override_leakage: str | None = None
    """A reason to write the mean although the audit finds leakage; recorded in the ledger."""

    def __post_init__(self) -> None:
        if self.directions < 0:
            raise UsageError(f"directions: must be 0 (none) or more, got {self.directions}")
        for name in ("private", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name}: must be a number above 0, got {value}")
        if self.private is not None and self.directions:
            raise UsageError(
                "private and directions exclude each other: directions of few people cannot be "
                "hidden by noise; only people who agreed to it may be in a basis"
            )
