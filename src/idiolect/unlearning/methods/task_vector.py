"""Task vector negation: trains on the forget set and subtracts the result (Ilharco et al.,
2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class TaskVector:
    """Has no settings of its own."""

    title: ClassVar[str] = "task vector"
    direction: ClassVar[Direction] = "negate"
    rate: ClassVar[float] = 1e-3
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = True

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield the cross-entropy of the forget set's answers."""
        yield "guided", model.compute_nll(batch.forget_examples).mean()
