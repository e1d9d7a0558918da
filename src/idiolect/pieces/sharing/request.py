"""One call of ``share`` as a value, shared by CLI, API and jobs; does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idiolect.pieces.sharing.sharing import ShareConfig
    from idiolect.training.engine.config import EngineConfig


@dataclass(frozen=True, kw_only=True)
class ShareRequest:
    """The people whose adapters become pieces, and the pool that the pieces go into."""

    store: Path
    """Folder of the adapters."""
    data: Path
    """Folder of the dataset that the adapters were trained on."""
    pool: Path
    """Folder of the pool; created if it is missing."""
    base: str | None = None
    """Current location of the store's base, if it has moved."""
    config: ShareConfig | None = None
    """How sharers are chosen and adapters are split; the defaults if ``None``."""
    engine: EngineConfig | None = None
    """How the engine batches training; affects speed and rounding only."""
    people: Sequence[str] = ()
    """Share these people's adapters; if empty, sharers are selected among the people who
    consented."""
    profiles: Path | None = None
    """Folder of profiles, if the adapters were trained with profiles."""
    override_leakage: str | None = None
    """A reason to share a person although the audit finds leakage, so that others may get words of
    theirs; recorded in the ledger."""
    override_harm: str | None = None
    """A reason to share a person although their pieces answer harmful prompts more often than the
    base; recorded in the ledger."""
    wait: bool = True
    """Wait if another process writes the store or the pool; otherwise raise BusyError."""
