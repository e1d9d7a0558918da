"""One call of ``withdraw`` as a value, shared by CLI, API and jobs; does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WithdrawRequest:
    """The sharers who withdraw from a pool, and where to search for what was made of their
    pieces."""

    pool: Path
    """Folder of the pool."""
    sharers: Sequence[str] = ()
    """The sharers who withdraw, by their pseudonyms in the pool."""
    store: Path | None = None
    """The store that shared ``people``."""
    people: Sequence[str] = ()
    """The sharers who withdraw, by their ids in ``store``."""
    within: Sequence[Path] = ()
    """Folders to search; the parent folder of the pool if empty."""
    data: Path | None = None
    """Dataset of the people whose recipes are made again; without it their recipes are removed."""
    base: str | None = None
    """Current location of the pool's base, if it has moved."""
    profiles: Path | None = None
    """Folder of profiles, if adapters that start from recipes were trained with profiles."""
    allow_older: bool = False
    """Whether adapters are trained again from histories that are shorter or older than before."""
    wait: bool = True
    """Wait if another process writes the pool or a store; otherwise raise BusyError."""
