"""The holdout gate: an adapter is kept only if it helps on held-out items of the person's history.

The gate compares mean losses on the last items of a history, with and without the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idiolect.adapters.protocol import Adapter
from idiolect.errors import UsageError
from idiolect.inference.scoring import iter_token_losses
from idiolect.models.base import Base
from idiolect.prompts.render import Example


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Settings of the held-out items."""

    on: bool = True
    """If off, as in the papers, all items are trained on and each person's adapter is used."""
    share: float = 0.1
    """Share of a history that is held out, from its end."""
    least: int = 3
    """Minimum number of held-out items."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"gate.share: must be between 0 and 1, got {self.share}")

    def count_holdout(self, items: int) -> int:
        """Return the number of held-out items of a history: at most a third of its items."""
        return min(max(self.least, round(items * self.share)), items // 3) if self.on else 0


def compute_mean_losses(
    base: Base,
    examples: Mapping[str, Sequence[Example]],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> dict[str, float]:
    """Return each person's mean loss per target token in nats, with their adapter, if any."""
    # One list of rows for all people, so that forwards are full.
    rows = [(person, example) for person, theirs in examples.items() for example in theirs]
    total = dict.fromkeys(examples, 0.0)
    count = dict.fromkeys(examples, 0)
    for row, value, _ in iter_token_losses(base, rows, adapters, forward_tokens=forward_tokens):
        total[rows[row][0]] += value
        count[rows[row][0]] += 1
    return {person: total[person] / max(1, count[person]) for person in examples}
