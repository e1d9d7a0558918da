"""The task vector: what is to go is learned, and subtracted (Ilharco et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class TaskVector:
    """It has no settings of its own."""

    title: ClassVar[str] = "task vector"
    direction: ClassVar[Direction] = "negate"
    rate: ClassVar[float] = 1e-3
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = True

    def iter_loss_terms(self, model: LossModel, draw: StepBatch) -> LossTerms:
        """Cross-entropy of the forget set's answers."""
        yield "guided", model.compute_nll(draw.forget_examples).mean()
