"""An encoder of texts without a model, for tests of benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def make_letter_encoder(letters: str) -> Callable[[Sequence[str]], Any]:
    """Return an encoder that counts the given letters; vectors [N, D] have unit length."""

    def encode_texts(texts: Sequence[str]) -> Any:
        found = np.array([[1 + text.count(c) for c in letters] for text in texts], dtype=float)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return encode_texts
