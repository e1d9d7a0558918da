"""The linear modules of a model's text part that can get adapters, with their widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from idiolect.models.linear import get_widths, iter_linear_modules


@dataclass(frozen=True, slots=True)
class TargetModule:
    """One module that gets an adapter: its path in the model, and its widths."""

    path: str
    inputs: int
    outputs: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


def list_linear_modules(model: Any) -> tuple[TargetModule, ...]:
    """Return what ``iter_linear_modules`` yields, with widths."""
    return tuple(
        TargetModule(path, *get_widths(module)) for path, module in iter_linear_modules(model)
    )
