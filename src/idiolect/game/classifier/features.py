"""A pair as numbers: from the sentence encoder, and from the base model's own likelihood.

The encoder gives a vector a word. Their difference has a direction (whole and part exchanged change
its sign), their product has none; the cosine is the product's sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.game.classifier.examples import Example
from idiolect.retrieval import Encoder

Floats = NDArray[np.float32]
Scorer = Callable[[Sequence[Example]], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Rows of numbers, the first ``scalars`` columns standing for themselves."""

    values: Floats
    """[N, F]: scalars, difference, product."""
    names: tuple[str, ...]
    """Of the scalars."""

    @property
    def scalars(self) -> int:
        """How many columns are features of their own, before the encoder's."""
        return len(self.names)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Features:
        """Some of the rows."""
        return Features(values=self.values[np.asarray(rows, dtype=np.int64)], names=self.names)

    def only(self, name: str) -> Features:
        """One scalar alone."""
        place = self.names.index(name)
        return Features(values=self.values[:, place : place + 1], names=(name,))


class Describer:
    """Makes features; each word is encoded once."""

    def __init__(self, encoder: Encoder, scorer: Scorer | None = None, names: Sequence[str] = ()):
        self.encoder, self.scorer = encoder, scorer
        self.names = ("cosine", *names)
        self._vectors: dict[str, Floats] = {}

    def __call__(self, pairs: Sequence[Example]) -> Features:
        """The features of pairs, a row each."""
        new = sorted({word for pair in pairs for word in pair.words} - self._vectors.keys())
        if new:
            self._vectors.update(zip(new, np.asarray(self.encoder(new), np.float32), strict=True))
        bases = np.stack([self._vectors[pair.base_word] for pair in pairs])
        answers = np.stack([self._vectors[pair.answer] for pair in pairs])
        product = bases * answers
        blocks = [product.sum(axis=1, keepdims=True)]
        if self.scorer is not None:
            blocks.append(self.scorer(pairs))
        values = np.concatenate([*blocks, bases - answers, product], axis=1)
        return Features(values=values.astype(np.float32), names=self.names)
