"""Gradient ascent: what is to go is made less likely, nothing else (Jang et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from idiolect.unlearning.method import Direction, Model
from idiolect.unlearning.sets import Draw


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """It has no settings of its own; nothing bounds it but rate and steps."""

    title: ClassVar[str] = "gradient ascent"
    direction: ClassVar[Direction] = "keep"

    def losses(self, model: Model, draw: Draw) -> Mapping[str, Tensor]:
        """Minus the cross-entropy of the forget set's answers."""
        return {"ascent": -model.nll(draw.forget).mean()}
