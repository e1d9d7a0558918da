"""Fine-tuning on what is to stay, in the hope that the rest is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import Draw
from idiolect.unlearning.methods.protocol import Direction, Model, Terms


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """It has no settings of its own."""

    title: ClassVar[str] = "fine-tuning"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 1e-3
    steps: ClassVar[int] = 40
    spares: ClassVar[bool] = False

    def losses(self, model: Model, draw: Draw) -> Terms:
        """Cross-entropy of the retain set's answers."""
        yield "retain", model.nll(draw.retain).mean()
