"""Settings of private training. None of them may be chosen by looking at the person's records."""

from __future__ import annotations

import math
from dataclasses import dataclass

from idiolect.errors import UsageError
from idiolect.privacy.guarantee import round_up_count

MAX_RECORDS = 10_000
"""The longest history that the default delta allows: delta is at most 1 / (10 * records)."""


@dataclass(frozen=True, kw_only=True)
class PrivateConfig:
    """How one person's adapter is trained with record-level differential privacy.

    Neighboring histories differ in one record that is added or removed. The defaults were chosen on
    development people (docs/notes/private.md).
    """

    epsilon: float = 8.0
    """The privacy loss of one training: smaller is more private. ``--private`` sets it."""
    delta: float = 0.1 / MAX_RECORDS
    """The probability with which the loss may be larger. A constant, so that it does not depend on
    the history."""
    steps: int = 3
    """Steps over all records. More steps need more noise in each, and more time."""
    clip: float = 0.15
    """The largest norm of one record's gradient along the directions. On development people, nine
    of ten gradients were shorter than 0.13."""
    curvature: float = 0.03
    """How fast one record's gradient changes along the main direction; sets the size of a step."""
    prior: float = 0.3
    """How strongly a step pulls towards the mean adapter: the donors' coordinates have variance 1,
    and the loss of a record is a mean over its tokens."""
    least_records: int = 20
    """The base serves people with fewer usable records: noise would outweigh them."""
    basis: str = ""
    """SHA-256 of the directions; set from the folder of the basis."""

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta", "clip", "curvature"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"private.{name}: must be a number above 0, got {value}")
        if self.delta > 0.1:
            raise UsageError(f"private.delta: must be at most 0.1, got {self.delta}")
        if self.prior < 0:
            raise UsageError(f"private.prior: must be 0 or more, got {self.prior}")
        for name in ("steps", "least_records"):
            if getattr(self, name) < 1:
                raise UsageError(f"private.{name}: must be at least 1, got {getattr(self, name)}")

    def compute_rate(self, records: int) -> float:
        """Return the size of a step. The number of records enters rounded up to a power of two."""
        return 1 / (self.curvature * round_up_count(records) + self.prior)
