"""Gradient ascent: what is to go is made less likely, nothing else (Jang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class GradientAscent:
    """It has no settings of its own; nothing bounds it but rate and steps."""

    title: ClassVar[str] = "gradient ascent"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 3e-4
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = True

    def iter_loss_terms(self, model: LossModel, draw: StepBatch) -> LossTerms:
        """Minus the cross-entropy of the forget set's answers."""
        yield "ascent", -model.compute_nll(draw.forget_examples).mean()
