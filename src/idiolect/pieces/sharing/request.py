"""One call of ``share`` as a value, shared by command, API and work; loads no torch."""

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
    """Whose adapters to cut into pieces, and into which pool the pieces go."""

    store: Path
    """Folder of the adapters."""
    data: Path
    """Folder of the dataset that they were trained on."""
    pool: Path
    """Folder of the pool; made if it is missing."""
    base: str | None = None
    """Where the store's base lies now, if it has moved."""
    config: ShareConfig | None = None
    """Who is chosen and how adapters are cut; its defaults if ``None``."""
    engine: EngineConfig | None = None
    """How training is laid out: speed and rounding, never what is computed."""
    people: Sequence[str] = ()
    """Share these people's adapters; if empty, sharers are chosen among those who agreed."""
    profiles: Path | None = None
    """Folder of profiles, if the adapters were trained with profiles."""
    override_leakage: str | None = None
    """The reason why a person is shared although the audit finds a leak; the ledger keeps it."""
    override_harm: str | None = None
    """The reason why a person is shared although their pieces answer harmful prompts more often
    than the base; the ledger keeps it."""
    wait: bool = True
    """Wait if another process writes store or pool; otherwise raise BusyError."""
