"""One call of ``assemble`` as a value, shared by CLI, API and jobs; does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idiolect.pieces.recipes.config import RecipeConfig


@dataclass(frozen=True, kw_only=True)
class AssembleRequest:
    """The people to assemble recipes for, and the pool to assemble from."""

    data: Path
    """Folder of the dataset."""
    pool: Path
    """Folder of the pool."""
    out: Path
    """Folder of the recipes; created if it is missing."""
    base: str | None = None
    """Current location of the pool's base, if it has moved."""
    config: RecipeConfig | None = None
    """How pieces are chosen; the defaults if ``None``."""
    people: Sequence[str] = ()
    """Only these people; all people of the dataset if empty."""
    wait: bool = True
    """Wait if another process writes the recipes; otherwise raise BusyError."""
