"""The receipt of ``forget``: what happened to each artifact, and what is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.privacy.erasure import ErasureEffect
from idiolect.privacy.scan import ScanHit

if TYPE_CHECKING:
    from idiolect.erasure.negate_adapter import NegationResult


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The result of one run. It names the person, so store it only where that is allowed."""

    person: str
    records: tuple[str, ...]
    """Ids of the forgotten records; empty for the whole person."""
    searched: tuple[Path, ...]
    """The folders that were searched."""
    effects: tuple[ErasureEffect, ...]
    unreadable: tuple[str, ...]
    """Artifacts that could not be read, and why."""
    done: bool
    """False for a dry run."""
    verified: bool
    """Whether every byte below the folders was searched afterwards."""
    left: tuple[ScanHit, ...] = ()
    """Traces of the person that verification found, in files of no known kind."""
    gone: int = 0
    """Number of pairs, from deleted records, that were to be negated in the person's adapter."""
    negated: NegationResult | None = None
    """The result of the negation; ``None`` if this run did not negate."""
    kept: tuple[Path, ...] = ()
    """Files that the caller gave. They contain what is forgotten, and were not changed."""
    seconds: float = 0.0

    @property
    def outcome_counts(self) -> dict[str, int]:
        """Number of artifacts by kind and outcome, e.g. ``{"adapter removed": 2}``."""
        out: Counter[str] = Counter()
        for effect in self.effects:
            out[f"{effect.what} {effect.outcome}"] += effect.count
        return dict(out)
