"""One call of ``assemble`` as a value, shared by command, API and work; loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idiolect.pieces.recipes.config import RecipeConfig


@dataclass(frozen=True, kw_only=True)
class AssembleRequest:
    """For whom to make recipes, and from which pool."""

    data: Path
    """Folder of the dataset."""
    pool: Path
    """Folder of the pool."""
    out: Path
    """Folder of the recipes; made if it is missing."""
    base: str | None = None
    """Where the pool's base lies now, if it has moved."""
    config: RecipeConfig | None = None
    """How pieces are picked; its defaults if ``None``."""
    people: Sequence[str] = ()
    """Only these people; all of the dataset if empty."""
    wait: bool = True
    """Wait if another process writes the recipes; otherwise raise BusyError."""
