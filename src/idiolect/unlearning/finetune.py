"""Fine-tuning on what is to stay, in the hope that the rest is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from idiolect.unlearning.method import Direction, Model
from idiolect.unlearning.sets import Draw


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """It has no settings of its own."""

    title: ClassVar[str] = "fine-tuning"
    direction: ClassVar[Direction] = "keep"

    def losses(self, model: Model, draw: Draw) -> Mapping[str, Tensor]:
        """Cross-entropy of the retain set's answers."""
        return {"retain": model.nll(draw.retain).mean()}
