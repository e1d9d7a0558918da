"""Gradient ascent with mismatched answers and a leash (Yao et al., 2023, arXiv:2310.10683)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.errors import UsageError
from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class GradientAscentMismatch:
    """The weights of its three terms, each 0 to leave it out."""

    title: ClassVar[str] = "gradient ascent + mismatch"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 2e-3
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = False

    ascent: float = 0.1
    """Of making the forget set's answers less likely; 0.5, the paper's weight, did no better and
    left more answers blank (docs/notes/unlearning.md)."""
    mismatch: float = 1.0
    """Of answering its prompts with the retain set's answers."""
    retain: float = 1.0
    """Of staying near the model on the retain set (KL)."""

    def __post_init__(self) -> None:
        for name in ("ascent", "mismatch", "retain"):
            if not 0 <= getattr(self, name) < float("inf"):
                value = getattr(self, name)
                raise UsageError(f"ga_mismatch.{name}: must be 0 or more, got {value}")
        if not (self.ascent or self.mismatch or self.retain):
            raise UsageError("ga_mismatch: all its weights are 0, so there is nothing to train")

    def iter_loss_terms(self, model: LossModel, draw: StepBatch) -> LossTerms:
        """Ascent on the forget set, its prompts answered by others' answers, nearness elsewhere."""
        if self.ascent:
            yield "ascent", -self.ascent * model.compute_nll(draw.forget_examples).mean()
        if self.mismatch:
            yield "mismatch", self.mismatch * model.compute_nll(draw.sample_mismatched()).mean()
        if self.retain:
            yield "retain", self.retain * model.compute_kl(draw.retain_examples).mean()
