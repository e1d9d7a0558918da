"""The task vector: what is to go is learned, and subtracted (Ilharco et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from idiolect.unlearning.method import Direction, Model
from idiolect.unlearning.sets import Draw


@dataclass(frozen=True, kw_only=True)
class TaskVector:
    """It has no settings of its own."""

    title: ClassVar[str] = "task vector"
    direction: ClassVar[Direction] = "negate"

    def losses(self, model: Model, draw: Draw) -> Mapping[str, Tensor]:
        """Cross-entropy of the forget set's answers."""
        return {"guided": model.nll(draw.forget).mean()}
