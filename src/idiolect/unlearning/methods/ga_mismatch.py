"""Gradient ascent with mismatched answers and a KL term (Yao et al., 2023, arXiv:2310.10683)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.errors import UsageError
from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class GradientAscentMismatch:
    """The weights of the three terms; 0 leaves a term out."""

    title: ClassVar[str] = "gradient ascent + mismatch"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 2e-3
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = False

    ascent: float = 0.1
    """Weight of the ascent on the forget set's answers. The paper's weight, 0.5, was no better and
    left more answers blank (docs/notes/unlearning.md)."""
    mismatch: float = 1.0
    """Weight of the cross-entropy of retain answers after forget prompts."""
    retain: float = 1.0
    """Weight of KL(before || now) on the retain set."""

    def __post_init__(self) -> None:
        for name in ("ascent", "mismatch", "retain"):
            if not 0 <= getattr(self, name) < float("inf"):
                value = getattr(self, name)
                raise UsageError(f"ga_mismatch.{name}: must be 0 or more, got {value}")
        if not (self.ascent or self.mismatch or self.retain):
            raise UsageError("ga_mismatch: all weights are 0, so there is nothing to train")

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield ascent on forget answers, descent on mismatched answers, and KL on the retain
        set."""
        if self.ascent:
            yield "ascent", -self.ascent * model.compute_nll(batch.forget_examples).mean()
        if self.mismatch:
            yield "mismatch", self.mismatch * model.compute_nll(batch.sample_mismatched()).mean()
        if self.retain:
            yield "retain", self.retain * model.compute_kl(batch.retain_examples).mean()
