"""Gradient ascent: makes the forget set less likely, and nothing else (Jang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class GradientAscent:
    """Has no settings of its own. Only the learning rate and the steps limit it."""

    title: ClassVar[str] = "gradient ascent"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 3e-4
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = True

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield minus the cross-entropy of the forget set's answers."""
        yield "ascent", -model.compute_nll(batch.forget_examples).mean()
