"""Fine-tuning on the retain set alone, in the hope that the model forgets the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Has no settings of its own."""

    title: ClassVar[str] = "fine-tuning"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 1e-3
    steps: ClassVar[int] = 40
    projects_out_retain: ClassVar[bool] = False

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield the cross-entropy of the retain set's answers."""
        yield "retain", model.compute_nll(batch.retain_examples).mean()
