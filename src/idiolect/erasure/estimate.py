"""Estimates what ``forget`` has to make again, and how long it takes, before anything changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.store.store import AdapterStore
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import ErasureEffect

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class RebuildingEstimate:
    """What has to be made again, and the time that training adapters takes."""

    adapters: int
    tokens: int
    """Number of tokens that training them took before."""
    seconds: float | None
    """``None`` if no store recorded its training speed."""
    bases: int = 0
    recipes: int = 0

    def format_text(self) -> str:
        """Return the estimate as a sentence, with what it is based on and what it leaves out."""
        parts = list[str]()
        if self.adapters:
            parts.append(f"adapters to train again: {self.adapters:,}, {self._format_time()}")
        if self.bases:
            parts.append(f"base models to adapt again: {self.bases:,}")
        if self.recipes:
            parts.append(f"recipes to assemble again: {self.recipes:,}")
        return (
            f"{'; '.join(parts)}; no time is estimated for base models, recipes and the search "
            "(--verify)"
        )

    def _format_time(self) -> str:
        if self.seconds is None:
            return "how long that takes is not known: no training speed was recorded"
        minutes = self.seconds / 60
        about = f"{minutes:.0f} minutes" if minutes >= 1 else "a minute or less"
        return f"about {about} for {self.tokens:,} tokens at the speed of their last training"


def estimate_rebuilding(effects: Sequence[ErasureEffect]) -> RebuildingEstimate | None:
    """Return the estimate for planned effects; ``None`` if nothing has to be made again."""
    # An adapter can be listed twice, e.g. for its own words and for the pieces it started from.
    rebuilt = [effect for effect in effects if effect.outcome == "rebuilt"]
    people = defaultdict[Path, set[str]](set)
    for effect in rebuilt:
        if (effect.where / AdapterStore.HEADER_FILE).is_file():
            people[effect.where].add(effect.person)
    tokens, seconds = 0, None
    for folder, names in people.items():
        store = AdapterStore.open(folder)
        records = (store.get_record(person) for person in names)
        count = sum(record.tokens for record in records if record is not None)
        tokens += count
        if speed := read_tokens_per_second(folder / METRICS_FILE):
            seconds = (seconds or 0.0) + count / speed
    recipes = {
        (e.where, e.person) for e in rebuilt if (e.where / RecipeStore.HEADER_FILE).is_file()
    }
    bases = sum(effect.what == "base" for effect in rebuilt)
    if not people and not recipes and not bases:
        return None
    return RebuildingEstimate(
        adapters=sum(map(len, people.values())),
        tokens=tokens,
        seconds=seconds,
        bases=bases,
        recipes=len(recipes),
    )


def read_tokens_per_second(path: Path) -> float | None:
    """Return the mean training speed of a metrics file; ``None`` if it records none."""
    tokens = seconds = 0.0
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            values = json.loads(line)
            tokens += values.get("tokens", 0)
            seconds += values.get("seconds", 0.0)
        except (ValueError, AttributeError, TypeError):
            continue  # a line that a killed process wrote only partly
    return tokens / seconds if tokens and seconds > 0 else None
