"""An encoder that remembers the vectors of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from idiolect.retrieval.dense import Encoder


class CachingEncoder:
    """Wraps an encoder and encodes each distinct text once, as long as this object lives."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.vectors_by_text: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector per text [N, D]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors_by_text]
        if new:
            self.vectors_by_text |= dict(zip(new, np.asarray(self.encoder(new)), strict=True))
        return np.stack([self.vectors_by_text[text] for text in texts])
