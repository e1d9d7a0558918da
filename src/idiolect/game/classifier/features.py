"""A pair as numbers: vectors from the sentence encoder, and scores that stand for themselves.

The encoder gives a vector a word. Their difference has a direction (whole and part exchanged change
its sign), their product has none; the cosine is the product's sum. Vectors are cheap and hundreds
of numbers, so they want many examples; scores are few, and those of a base model are dear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from idiolect.game.classifier.examples import Example
from idiolect.retrieval.dense import Encoder

Floats = NDArray[np.float32]
Scorer = Callable[[Sequence[Example]], Floats]


class FeatureExtractor:
    """Makes the numbers of pairs; each word is encoded once."""

    def __init__(
        self, encoder: Encoder, scorer: Scorer | None = None, names: Sequence[str] = ()
    ) -> None:
        self.encoder, self.scorer = encoder, scorer
        self.score_names = ("cosine", *names)
        """Of the scores."""
        self._vectors: dict[str, Floats] = {}

    def compute_vectors(self, pairs: Sequence[Example]) -> Floats:
        """[N, 2D]: difference and product of base word's and answer's unit vectors."""
        bases, answers = self._encode_words(pairs)
        return np.concatenate([bases - answers, bases * answers], axis=1)

    def compute_scores(self, pairs: Sequence[Example]) -> Floats:
        """[N, S]: the cosine, and what the scorer says."""
        bases, answers = self._encode_words(pairs)
        blocks = [(bases * answers).sum(axis=1, keepdims=True)]
        if self.scorer is not None:
            blocks.append(self.scorer(pairs))
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def _encode_words(self, pairs: Sequence[Example]) -> tuple[Floats, Floats]:
        new = sorted({word for pair in pairs for word in pair.word_pair} - self._vectors.keys())
        if new:
            found = np.asarray(self.encoder(new), np.float32)
            self._vectors.update(zip(new, found, strict=True))
        return (
            np.stack([self._vectors[pair.base_word] for pair in pairs]),
            np.stack([self._vectors[pair.answer] for pair in pairs]),
        )
