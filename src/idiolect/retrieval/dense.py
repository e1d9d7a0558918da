"""Nearest earlier items by sentence vectors; the encoder is passed in, so no torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from idiolect.errors import IntegrityError
from idiolect.retrieval.ranking import select_top_k


class Encoder(Protocol):
    """Turns texts into vectors, [N] -> [N, D] float32 of unit length, in the order of the texts."""

    def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]: ...


class DenseRetriever:
    """Vectors of every item, made once in one call of the encoder; a ``Retriever``.

    A text that was indexed is not encoded again when it is searched with, and neither is one that
    was searched with before. Raises IntegrityError where the encoder gives no finite numbers.
    """

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors = self._encode_texts(texts) if texts else np.zeros((0, 1), dtype=np.float32)
        self._vector_by_text = dict(zip(texts, self._vectors, strict=True))

    def _encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = np.asarray(self._encoder(texts), dtype=np.float32)
        assert vectors.ndim == 2 and len(vectors) == len(texts), vectors.shape
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            raise IntegrityError(
                "the encoder gave a vector that is not finite for the text "
                f"{texts[int(broken[0])][:80]!r}; its weights are damaged: fetch them again"
            )
        return vectors

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """At most ``k`` visible positions by cosine, best first; ties go to the later item."""
        assert 0 <= visible <= len(self._vectors), (visible, len(self._vectors))
        if visible == 0 or k <= 0:
            return ()
        if text not in self._vector_by_text:
            self._vector_by_text[text] = self._encode_texts([text])[0]
        return select_top_k(self._vectors[:visible] @ self._vector_by_text[text], k)
