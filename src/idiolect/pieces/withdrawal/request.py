"""One call of ``withdraw`` as a value, shared by command, API and work; loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WithdrawRequest:
    """Who leaves a pool, and where to look for what was made of their pieces."""

    pool: Path
    """Folder of the pool."""
    sharers: Sequence[str] = ()
    """Who leaves, by their pseudonyms in the pool."""
    store: Path | None = None
    """The store that shared ``people``."""
    people: Sequence[str] = ()
    """Who leaves, by their ids in ``store``."""
    within: Sequence[Path] = ()
    """Folders to look through; the one that the pool lies in if empty."""
    data: Path | None = None
    """Dataset of the people whose recipes are made again; without it their recipes are removed."""
    base: str | None = None
    """Where the pool's base lies now, if it has moved."""
    profiles: Path | None = None
    """Folder of profiles, if adapters that start from recipes were trained with profiles."""
    wait: bool = True
    """Wait if another process writes pool or stores; otherwise raise BusyError."""
