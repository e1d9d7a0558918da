"""NPO, negative preference optimization (Zhang et al., 2024, arXiv:2404.05868)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from idiolect.errors import UsageError
from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.protocol import Direction, LossModel, LossTerms


@dataclass(frozen=True, kw_only=True)
class Npo:
    """Gradient ascent whose gradient for an answer vanishes as that answer becomes unlikely."""

    title: ClassVar[str] = "NPO"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 5e-4
    steps: ClassVar[int] = 24
    projects_out_retain: ClassVar[bool] = True

    beta: float = 0.1
    """How fast the gradient vanishes, per nat of the whole answer. 0.1 is the paper's value."""
    retain: float = 1.0
    """Weight of the cross-entropy on the retain set (NPO+RT in the paper); 0 leaves it out."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < float("inf"):
            raise UsageError(f"npo.beta: must be above 0, got {self.beta}")
        if not 0 <= self.retain < float("inf"):
            raise UsageError(f"npo.retain: must be 0 or more, got {self.retain}")

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield 2/beta softplus(beta (log p_now - log p_before)) over whole answers, and the retain
        term."""
        forget = batch.forget_examples
        before, now = model.compute_initial_nll(forget), model.compute_nll(forget)
        tokens = torch.tensor([e.num_targets for e in forget], dtype=now.dtype, device=now.device)
        # Log-ratios of whole answers: mean nats per token times the number of tokens.
        ratio = tokens * (before - now)
        yield "npo", 2 / self.beta * torch.nn.functional.softplus(self.beta * ratio).mean()
        if self.retain:
            yield "retain", self.retain * model.compute_nll(batch.retain_examples).mean()
