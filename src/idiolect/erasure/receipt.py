"""What forgetting did, as a value: what became of what, and whether anything is left."""

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
    """What a run did. It names who left: keep it where that may stand."""

    person: str
    records: tuple[str, ...]
    """Ids of the records that are forgotten; empty for the whole person."""
    searched: tuple[Path, ...]
    """The folders that were looked through."""
    effects: tuple[ErasureEffect, ...]
    unreadable: tuple[str, ...]
    """What could not be looked into, and why."""
    done: bool
    """Whether it was done; not in a dry run."""
    verified: bool
    """Whether every byte below the folders was looked through afterwards."""
    left: tuple[ScanHit, ...] = ()
    """What of who left still stands in files there; they are nobody's we know."""
    gone: int = 0
    """Pairs, in the data no more, that were to be taken out of their adapter by negation."""
    negated: NegationResult | None = None
    """What that did to the adapter; ``None`` where it was not negated in this run."""
    kept: tuple[Path, ...] = ()
    """Files that the caller gave: they hold what is forgotten, and are the caller's."""
    seconds: float = 0.0

    @property
    def outcome_counts(self) -> dict[str, int]:
        """How much of what had which outcome, e.g. ``{"adapter removed": 2}``."""
        out: Counter[str] = Counter()
        for effect in self.effects:
            out[f"{effect.what} {effect.outcome}"] += effect.count
        return dict(out)
