"""Caches that let an interrupted benchmark resume: results as JSON files, likelihoods in one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.config import compute_fingerprint
from idiolect.game.classifier.examples import Example
from idiolect.game.classifier.likelihood import LikelihoodScorer
from idiolect.storage.files import read_json, write_atomic, write_json

PAIRS_PER_SAVE = 100


class ResultCache:
    """Results by name, as JSON files in a folder.

    ``follows_from`` is JSON data that the results depend on. A file is used only if it was written
    with the same fingerprint of this data.
    """

    def __init__(self, folder: Path, follows_from: Any) -> None:
        self.folder = folder
        self.key = compute_fingerprint(follows_from)

    def get_or_make(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of this name, from its file or from ``make``.

        A new result gets the key ``seconds``: the time that ``make`` took.
        """
        known = self._read_valid(name)
        if known is not None:
            return known["made"]
        started = time.monotonic()
        made = make()
        made["seconds"] = round(time.monotonic() - started, 2)
        write_json(self._make_path(name), {"key": self.key, "made": made})
        return made

    def add_elapsed(self, seconds: float) -> float:
        """Add the seconds of this run to those of earlier runs; return the sum."""
        known = self._read_valid("elapsed")
        whole = seconds + (known["seconds"] if known else 0.0)
        write_json(self._make_path("elapsed"), {"key": self.key, "seconds": whole})
        return whole

    def _make_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read_valid(self, name: str) -> dict[str, Any] | None:
        path = self._make_path(name)
        known = read_json(path) if path.is_file() else None
        return known if known is not None and known["key"] == self.key else None


class LikelihoodCache:
    """A scorer that caches likelihoods in a file, so that a second run needs no forward passes."""

    def __init__(self, likelihoods: LikelihoodScorer, path: Path) -> None:
        self.likelihoods, self.path = likelihoods, path
        if path.is_file():
            rows = json.loads(path.read_text(encoding="utf-8"))
            likelihoods.scored.update({(a, b): (nats, n) for a, b, nats, n in rows})

    def __call__(self, pairs: Sequence[Example]) -> np.ndarray:
        """Return the scores of the pairs, as ``LikelihoodScorer`` does."""
        # Save after each group of pairs, so that little is lost if the benchmark is interrupted.
        order = sorted(range(len(pairs)), key=lambda n: pairs[n].word_pair)
        for start in range(0, len(order), PAIRS_PER_SAVE):
            before = len(self.likelihoods.scored)
            self.likelihoods([pairs[n] for n in order[start : start + PAIRS_PER_SAVE]])
            if len(self.likelihoods.scored) > before:
                self._save_cache()
        return self.likelihoods(pairs)

    def _save_cache(self) -> None:
        rows = [[a, b, nats, n] for (a, b), (nats, n) in self.likelihoods.scored.items()]
        write_atomic(self.path, json.dumps(rows))
