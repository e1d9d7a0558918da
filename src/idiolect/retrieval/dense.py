"""Dense retrieval: nearest earlier items by sentence vectors.

The encoder is passed in, so this module does not import torch.

Shapes: ``N`` texts, ``D`` width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from idiolect.errors import IntegrityError
from idiolect.retrieval.ranking import select_top_k


class Encoder(Protocol):
    """Encodes texts [N] into vectors [N, D], float32 of unit length, in the order of the texts."""

    def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]: ...


class DenseRetriever:
    """A ``Retriever`` over the vectors of all items, encoded once in one call of the encoder.

    Vectors are cached by text, so no text is encoded twice. Raises IntegrityError if the encoder
    returns numbers that are not finite.
    """

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors = self._encode_texts(texts) if texts else np.zeros((0, 1), dtype=np.float32)
        self._vector_by_text = dict(zip(texts, self._vectors, strict=True))

    def _encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode texts into vectors [N, D]; raises IntegrityError if one is not finite."""
        vectors_ND = np.asarray(self._encoder(texts), dtype=np.float32)
        assert vectors_ND.ndim == 2 and len(vectors_ND) == len(texts), vectors_ND.shape
        broken = np.flatnonzero(~np.isfinite(vectors_ND).all(axis=1))
        if len(broken):
            raise IntegrityError(
                "the encoder returned a vector that is not finite for the text "
                f"{texts[int(broken[0])][:80]!r}; its weights are damaged: fetch them again"
            )
        return vectors_ND

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """Return at most ``k`` visible positions by cosine, best first; ties go to the later
        one."""
        assert 0 <= visible <= len(self._vectors), (visible, len(self._vectors))
        if visible == 0 or k <= 0:
            return ()
        if text not in self._vector_by_text:
            self._vector_by_text[text] = self._encode_texts([text])[0]
        # Vectors have unit length, so the dot product is the cosine.
        return select_top_k(self._vectors[:visible] @ self._vector_by_text[text], k)
