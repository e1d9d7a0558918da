"""BM25 over one person's earlier items.

Tokenization comes from bm25s (its token pattern and stop words, with the Snowball stemmer), and the
scores equal those of its default method (Lucene's BM25). The index of bm25s is not used, because it
stores final scores, which contain document frequencies and the average length of the whole history:
later items would influence the ranking of earlier ones. Here words are counted once per person, and
both statistics are computed over the visible items at query time. A test compares the scores with a
bm25s index of the visible items.
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
"""How quickly repetitions of a word stop raising the score (the default of bm25s)."""
B = 0.75
"""How much long items are penalized (the default of bm25s)."""


@cache
def _get_stemmer() -> Any:
    """Return the English Snowball stemmer, created once."""
    return cast("Any", Stemmer).Stemmer("english")


def tokenize_texts(texts: Sequence[str]) -> list[list[str]]:
    """Return the stemmed lowercase words of each text, in order, without stop words."""
    if not texts:
        return []
    return cast("Any", bm25s).tokenize(
        list(texts), stopwords="en", stemmer=_get_stemmer(), return_ids=False, show_progress=False
    )


class Bm25Retriever:
    """A ``Retriever`` over word counts of all items, counted once."""

    def __init__(self, texts: Sequence[str]) -> None:
        documents = tokenize_texts(texts)
        found: dict[str, list[tuple[int, int]]] = {}
        for position, document in enumerate(documents):
            for word, count in Counter(document).items():
                found.setdefault(word, []).append((position, count))
        # Postings of a word: rows of (position, count), sorted by position.
        self._postings = {word: np.array(pairs, dtype=np.int64) for word, pairs in found.items()}
        self._lengths = np.array([len(document) for document in documents], dtype=np.int64)
        self._cumulative_lengths = np.concatenate([[0], np.cumsum(self._lengths)])

    def get_scores(self, text: str, *, visible: int) -> npt.NDArray[np.float64]:
        """Return BM25 scores [visible] of the first ``visible`` items, from these items alone."""
        assert 0 <= visible <= len(self._lengths), (visible, len(self._lengths))
        out = np.zeros(visible)
        average = self._cumulative_lengths[visible] / max(visible, 1)
        # Sorted words: a fixed order of summation, so that equal items have bit-identical scores.
        for word, times in sorted(Counter(tokenize_texts([text])[0]).items()):
            postings = self._postings.get(word)
            if postings is None:
                continue
            # Postings are sorted, so the visible ones are a prefix; its length is the document
            # frequency.
            document_frequency = int(np.searchsorted(postings[:, 0], visible))
            at, count = postings[:document_frequency, 0], postings[:document_frequency, 1]
            # Lucene's BM25: idf times term frequency, saturated by K1 and normalized by length with
            # B.
            idf = np.log1p((visible - document_frequency + 0.5) / (document_frequency + 0.5))
            norm = K1 * (1 - B + B * self._lengths[at] / max(average, 1e-9))
            out[at] += times * idf * count / (norm + count)
        return out

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """Return at most ``k`` visible positions, best first.

        Items without a common word come last; ties go to the later item.
        """
        return select_top_k(self.get_scores(text, visible=visible), k)
