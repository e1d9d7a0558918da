"""The task vector: what is to go is learned, and subtracted (Ilharco et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import Draw
from idiolect.unlearning.methods.protocol import Direction, Model, Terms


@dataclass(frozen=True, kw_only=True)
class TaskVector:
    """It has no settings of its own."""

    title: ClassVar[str] = "task vector"
    direction: ClassVar[Direction] = "negate"
    rate: ClassVar[float] = 1e-3
    steps: ClassVar[int] = 24
    spares: ClassVar[bool] = True

    def losses(self, model: Model, draw: Draw) -> Terms:
        """Cross-entropy of the forget set's answers."""
        yield "guided", model.nll(draw.forget).mean()
