"""Features of word pairs: vectors from the sentence encoder, and a few scores.

The encoder gives one vector per word. The difference of two vectors is directional (it changes sign
if whole and part are swapped), their product is symmetric, and their cosine is the sum of the
product. Vectors are cheap but have hundreds of dimensions, so they need many examples. Scores are
few, and those of a base model are expensive.

Shapes: N pairs, D encoder dimensions, S scores.
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
    """Computes the features of pairs, and encodes each word only once.

    ``scorer`` optionally adds scores [N, len(names)]; ``names`` are their names.
    """

    def __init__(
        self, encoder: Encoder, scorer: Scorer | None = None, names: Sequence[str] = ()
    ) -> None:
        self.encoder, self.scorer = encoder, scorer
        self.score_names = ("cosine", *names)
        """Names of the columns of `compute_scores`."""
        self._vectors: dict[str, Floats] = {}

    def compute_vectors(self, pairs: Sequence[Example]) -> Floats:
        """[N, 2D]: difference and product of the unit vectors of base word and answer."""
        bases_ND, answers_ND = self._encode_words(pairs)
        return np.concatenate([bases_ND - answers_ND, bases_ND * answers_ND], axis=1)

    def compute_scores(self, pairs: Sequence[Example]) -> Floats:
        """[N, S]: the cosine, then the scores of the scorer."""
        bases_ND, answers_ND = self._encode_words(pairs)
        blocks = [(bases_ND * answers_ND).sum(axis=1, keepdims=True)]
        if self.scorer is not None:
            blocks.append(self.scorer(pairs))
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def _encode_words(self, pairs: Sequence[Example]) -> tuple[Floats, Floats]:
        """[N, D] and [N, D]: the unit vectors of the base words and of the answers."""
        # Encode only new words, in sorted order so that batches are reproducible.
        new = sorted({word for pair in pairs for word in pair.word_pair} - self._vectors.keys())
        if new:
            found = np.asarray(self.encoder(new), np.float32)
            self._vectors.update(zip(new, found, strict=True))
        return (
            np.stack([self._vectors[pair.base_word] for pair in pairs]),
            np.stack([self._vectors[pair.answer] for pair in pairs]),
        )
