"""Estimates what ``forget`` has to train again, and how long it takes, before anything changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.inventory import PersonInventory

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class TrainingEstimate:
    """Adapters to train again, and the time that this takes."""

    adapters: int
    tokens: int
    """Number of tokens that training them took before."""
    seconds: float | None
    """``None`` if no store recorded its training speed."""

    def format_text(self) -> str:
        """Return the estimate as a sentence, with what it is based on."""
        what = f"adapters to train again: {self.adapters:,}"
        if self.seconds is None:
            return f"{what}; how long that takes is not known: no training speed was recorded"
        minutes = self.seconds / 60
        about = f"{minutes:.0f} minutes" if minutes >= 1 else "a minute or less"
        return (
            f"{what}, about {about} for {self.tokens:,} tokens at the speed of their last "
            "training; base models, recipes and the search come on top"
        )


def estimate_training(found: PersonInventory) -> TrainingEstimate | None:
    """Return the estimate for all stores; ``None`` if no adapter has to be trained again."""
    adapters = tokens = 0
    seconds: float | None = None
    for folder in found.stores:
        with found.collect_errors():
            store = AdapterStore.open(folder)
            people = found.origins.list_people(store.task)
            records = [r for p in sorted(people) if (r := store.get_record(p)) is not None]
            stale = [r for r in records if found.origins.is_affected(store, r)]
            adapters += len(stale)
            count = sum(record.tokens for record in stale)
            tokens += count
            if stale and (speed := read_tokens_per_second(folder / METRICS_FILE)):
                seconds = (seconds or 0.0) + count / speed
    return TrainingEstimate(adapters=adapters, tokens=tokens, seconds=seconds) if adapters else None


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
