"""The do-no-harm gate: an adapter is kept only where it helps on a held-out tail of its history.

Compares mean losses on the tail, base against base with adapter; knows nothing of files.
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
    """The held-out tail. Off is the paper's protocol: everyone's adapter is used, every item is
    trained on."""

    on: bool = True
    share: float = 0.1
    """Share of a history that is held out, from its end."""
    least: int = 3
    """Items held out at least."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"gate.share: must be between 0 and 1, got {self.share}")

    def count_holdout(self, items: int) -> int:
        """How many of a history's last items are held out; never more than a third of them."""
        return min(max(self.least, round(items * self.share)), items // 3) if self.on else 0


def compute_mean_losses(
    base: Base,
    examples: Mapping[str, Sequence[Example]],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> dict[str, float]:
    """Everyone's mean loss per target token, in nats, with their adapter where they have one."""
    rows = [(person, example) for person, theirs in examples.items() for example in theirs]
    total = dict.fromkeys(examples, 0.0)
    count = dict.fromkeys(examples, 0)
    for row, value, _ in iter_token_losses(base, rows, adapters, forward_tokens=forward_tokens):
        total[rows[row][0]] += value
        count[rows[row][0]] += 1
    return {person: total[person] / max(1, count[person]) for person in examples}
