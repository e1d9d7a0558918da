"""What was measured is kept: a run that was stopped goes on with what is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idiolect.config import compute_fingerprint
from idiolect.retrieval.dense import Encoder
from idiolect.storage.files import read_json, write_json


class ResultCache:
    """Results by name, as JSON in a folder, valid for one fingerprint of what they follow from."""

    def __init__(self, folder: Path, follows_from: Any) -> None:
        self.folder = folder
        self.key = compute_fingerprint(follows_from)

    def get_or_make(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is kept under the name, or made now; with ``seconds`` that making it took."""
        known = self._read_valid(name)
        if known is not None:
            return known["made"]
        started = time.monotonic()
        made = make()
        made["seconds"] = round(time.monotonic() - started, 2)
        write_json(self._make_path(name), {"key": self.key, "made": made})
        return made

    def add_elapsed(self, seconds: float) -> float:
        """What all runs of this took together, these seconds with them."""
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


class CachingEncoder:
    """An encoder that runs every text once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.vectors_by_text: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [N, D]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors_by_text]
        if new:
            self.vectors_by_text |= dict(zip(new, np.asarray(self.encoder(new)), strict=True))
        return np.stack([self.vectors_by_text[text] for text in texts])
