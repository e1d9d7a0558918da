"""SKU, Selective Knowledge negation Unlearning (Liu et al., 2024, arXiv:2402.10058).

Stage 1 trains a delta with three losses: harmful answers (guided distortion), harmful answers to
other prompts (random disassociation), and the divergence from the base on normal prompts
(preservation divergence). Stage 2 subtracts the delta, here after the projection of ``spare``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from idiolect.errors import UsageError
from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class Sku:
    """The weights of the three losses (0 leaves one out), and the direction of the third."""

    title: ClassVar[str] = "SKU"
    direction: ClassVar[Direction] = "negate"
    rate: ClassVar[float] = 2.5e-3
    steps: ClassVar[int] = 48
    projects_out_retain: ClassVar[bool] = True

    e1: float = 1.0
    """Guided distortion: cross-entropy of the harmful answers."""
    e2: float = 1.0
    """Random disassociation: mean cross-entropy of ``others`` harmful answers to other prompts."""
    e3: float = 20.0
    """Preservation divergence on normal prompts. Its values in nats are far smaller than the other
    two."""
    others: int = 1
    """Number of answers to other prompts per prompt, sampled in each step and never the prompt's
    own. The paper uses 5, which makes steps slower."""
    divergence: Literal["away", "retain"] = "retain"
    """``retain``: the delta stays near the base on normal prompts. ``away``, as in the released
    code: it moves away; after negation this costs several times as much on normal prompts
    (docs/notes/unlearning.md)."""
    cap: float = 2.0
    """Limit in nats per token above which moving ``away`` earns no more reward; without it this
    term would dominate."""

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

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield e1 * guided distortion, e2 * random disassociation, and e3 * preservation
        divergence."""
        # Terms are generated lazily, so a term's graph is freed before the next one is built.
        if self.e1:
            yield "guided", self.e1 * model.compute_nll(batch.forget_examples).mean()
        if self.e2:
            yield (
                "random",
                self.e2 * model.compute_nll(batch.sample_disassociated(self.others)).mean(),
            )
        if self.e3:
            kl_B = model.compute_kl(batch.retain_examples)
            loss_B = kl_B if self.divergence == "retain" else -kl_B.clamp(max=self.cap)
            yield "preserve", self.e3 * loss_B.mean()
