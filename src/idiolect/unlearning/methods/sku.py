"""SKU, Selective Knowledge negation Unlearning (Liu et al., 2024, arXiv:2402.10058).

Stage 1 trains what should go into a delta: harmful answers, harmful answers to the wrong prompts,
and its distance to the base on normal prompts. Stage 2 subtracts it, here after `spare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from idiolect.errors import UsageError
from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class Sku:
    """The three modules' weights, each 0 to leave it out, and how the last one is meant."""

    title: ClassVar[str] = "SKU"
    direction: ClassVar[Direction] = "negate"
    rate: ClassVar[float] = 2.5e-3
    steps: ClassVar[int] = 48
    projects_out_retain: ClassVar[bool] = True

    e1: float = 1.0
    """Guided distortion: cross-entropy of the harmful answers."""
    e2: float = 1.0
    """Random disassociation: the mean of it over ``others`` harmful answers to other prompts."""
    e3: float = 20.0
    """Preservation divergence on normal prompts; in nats it is far smaller than the other two."""
    others: int = 1
    """Answers to other prompts, drawn anew for each prompt and step; never one of its own. The
    paper has 5, which takes longer a step."""
    divergence: Literal["away", "retain"] = "retain"
    """``retain``: the delta stays near the base on normal prompts. ``away``, as released: it moves
    away; negated it costs several times as much there (docs/notes/unlearning.md)."""
    cap: float = 2.0
    """Nats a token from which on moving ``away`` is not rewarded any more: unbounded, it would take
    over."""

    def __post_init__(self) -> None:
        for name in ("e1", "e2", "e3"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"sku.{name}: must be 0 or more, got {getattr(self, name)}")
        if not (self.e1 or self.e2 or self.e3):
            raise UsageError("sku: e1, e2 and e3 are all 0, so there is nothing to train")
        if self.others < 1:
            raise UsageError(f"sku.others: must be at least 1, got {self.others}")
        if not self.cap > 0:
            raise UsageError(f"sku.cap: must be above 0, got {self.cap}")

    def iter_loss_terms(self, model: LossModel, draw: StepBatch) -> LossTerms:
        """e1 guided distortion + e2 random disassociation + e3 preservation divergence."""
        if self.e1:
            yield "guided", self.e1 * model.compute_nll(draw.forget_examples).mean()
        if self.e2:
            yield (
                "random",
                self.e2 * model.compute_nll(draw.sample_disassociated(self.others)).mean(),
            )
        if self.e3:
            moved = model.compute_kl(draw.retain_examples)
            kept = moved if self.divergence == "retain" else -moved.clamp(max=self.cap)
            yield "preserve", self.e3 * kept.mean()
