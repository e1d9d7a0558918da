"""BM25 over one person's earlier items; knows texts and positions, not tasks.

Words come from bm25s (its token pattern and stop words, with the Snowball stemmer), and scores are
those of its default method (Lucene's BM25). Its own index is not used, because it stores finished
scores: document frequencies and the average length of the *whole* history are inside them, so that
later items would speak in the ranking of earlier ones. Here the words are counted once a person,
and both statistics are taken over the visible items when asked; a bm25s index built anew on the
visible items gives the same scores (a test says so).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import bm25s  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import numpy.typing as npt
import Stemmer

from idiolect.retrieval.ranking import select_top_k

K1 = 1.5
"""How fast more of the same word stops to count (bm25s' default)."""
B = 0.75
"""How much long items are held back (bm25s' default)."""


@cache
def _get_stemmer() -> Any:
    return cast("Any", Stemmer).Stemmer("english")


def tokenize_texts(texts: Sequence[str]) -> list[list[str]]:
    """Stemmed lower-case words of each text, in order, stop words and single letters left out."""
    if not texts:
        return []
    return cast("Any", bm25s).tokenize(
        list(texts), stopwords="en", stemmer=_get_stemmer(), return_ids=False, show_progress=False
    )


class Bm25Retriever:
    """Counts of every word of every item, made once; a ``Retriever``."""

    def __init__(self, texts: Sequence[str]) -> None:
        documents = tokenize_texts(texts)
        found: dict[str, list[tuple[int, int]]] = {}
        for position, document in enumerate(documents):
            for word, count in Counter(document).items():
                found.setdefault(word, []).append((position, count))
        self._postings = {word: np.array(pairs, dtype=np.int64) for word, pairs in found.items()}
        self._lengths = np.array([len(document) for document in documents], dtype=np.int64)
        self._cumulative_lengths = np.concatenate([[0], np.cumsum(self._lengths)])

    def get_scores(self, text: str, *, visible: int) -> npt.NDArray[np.float64]:
        """BM25 scores [visible] of the first ``visible`` items, from these items alone."""
        assert 0 <= visible <= len(self._lengths), (visible, len(self._lengths))
        out = np.zeros(visible)
        average = self._cumulative_lengths[visible] / max(visible, 1)
        # In sorted order, so that equal items get equal sums, bit by bit.
        for word, times in sorted(Counter(tokenize_texts([text])[0]).items()):
            postings = self._postings.get(word)
            if postings is None:
                continue
            seen = int(np.searchsorted(postings[:, 0], visible))
            at, count = postings[:seen, 0], postings[:seen, 1]
            rarity = np.log1p((visible - seen + 0.5) / (seen + 0.5))
            norm = K1 * (1 - B + B * self._lengths[at] / max(average, 1e-9))
            out[at] += times * rarity * count / (norm + count)
        return out

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """At most ``k`` visible positions, best first; items without a common word come last."""
        return select_top_k(self.get_scores(text, visible=visible), k)
