"""What was measured is kept: a run that was stopped goes on with what is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idiolect.config import fingerprint
from idiolect.retrieval.dense import Encoder
from idiolect.storage.files import read_json, write_json


class Kept:
    """Results by name, as JSON in a folder, valid for one fingerprint of what they follow from."""

    def __init__(self, folder: Path, follows_from: Any) -> None:
        self.folder = folder
        self.key = fingerprint(follows_from)

    def get(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is kept under the name, or made now; with ``seconds`` that making it took."""
        known = self._known(name)
        if known is not None:
            return known["made"]
        started = time.monotonic()
        made = make()
        made["seconds"] = round(time.monotonic() - started, 2)
        write_json(self._path(name), {"key": self.key, "made": made})
        return made

    def spent(self, seconds: float) -> float:
        """What all runs of this took together, these seconds with them."""
        known = self._known("elapsed")
        whole = seconds + (known["seconds"] if known else 0.0)
        write_json(self._path("elapsed"), {"key": self.key, "seconds": whole})
        return whole

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _known(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        known = read_json(path) if path.is_file() else None
        return known if known is not None and known["key"] == self.key else None


class Memo:
    """An encoder that runs every text once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [N, D]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known |= dict(zip(new, np.asarray(self.encoder(new)), strict=True))
        return np.stack([self.known[text] for text in texts])
