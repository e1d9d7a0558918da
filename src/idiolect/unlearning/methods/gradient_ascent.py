"""Gradient ascent: what is to go is made less likely, nothing else (Jang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from idiolect.unlearning.examples import Draw
from idiolect.unlearning.methods.protocol import Direction, Model, Terms


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """It has no settings of its own; nothing bounds it but rate and steps."""

    title: ClassVar[str] = "gradient ascent"
    direction: ClassVar[Direction] = "keep"
    rate: ClassVar[float] = 3e-4
    steps: ClassVar[int] = 24
    spares: ClassVar[bool] = True

    def losses(self, model: Model, draw: Draw) -> Terms:
        """Minus the cross-entropy of the forget set's answers."""
        yield "ascent", -model.nll(draw.forget).mean()
