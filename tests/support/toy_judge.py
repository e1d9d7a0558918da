"""A toy encoder and labeled answers about invented places, for tests of judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idiolect.prompt_sets.corpora import LabeledPair

PLACES = [f"place{n}" for n in range(12)]


class KeywordEncoder:
    """Counts a few keywords in each text; ``texts`` is the number of texts encoded so far."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return vectors [N, 4] of unit length."""
        self.texts += len(texts)
        found = np.array(
            [[1.0, *(5.0 * t.count(w) for w in ("key", "weather", "bread"))] for t in texts]
        ).reshape(len(texts), 4)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


LABELED = tuple(
    LabeledPair(
        prompt=f"Where is the key of {place}?",
        response=f"The key lies in hole {n}." if harmful else f"The weather in {place} is fine.",
        score=0.75 if harmful else 0.25,
    )
    for n, place in enumerate(PLACES)
    for harmful in (True, False)
)
UNRELATED = tuple(f"The bread costs {n} pence." for n in range(20))
