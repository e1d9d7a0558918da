"""Dense retrieval: ranking, caching of vectors, and independence of later items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import IntegrityError, UsageError
from idiolect.retrieval.registry import get_retriever

texts = st.text(alphabet="abc ", max_size=6)


class LetterEncoder:
    """Encodes a text as its counts of a, b and c, with unit length; records its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls.append(list(texts))
        counts = np.array([[t.count(c) for c in "abc"] for t in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)


@settings(max_examples=60)
@given(st.lists(texts, max_size=8), st.lists(texts, max_size=4), texts, st.data())
def test_dense_retriever_ignores_later_items(
    history: list[str], others: list[str], query: str, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    found = get_retriever("dense", history, encoder=LetterEncoder()).retrieve_top_k(
        query, visible=visible, k=3
    )
    assert len(found) == len(set(found)) == min(3, visible)
    assert set(found) <= set(range(visible))
    # Other later items must not change the result.
    other = get_retriever("dense", [*history[:visible], *others], encoder=LetterEncoder())
    assert other.retrieve_top_k(query, visible=visible, k=3) == found


def test_dense_retrieve_top_k_is_best_first_with_ties_to_later_item() -> None:
    found = get_retriever("dense", ["aa", "b", "a", "ab"], encoder=LetterEncoder())
    assert found.retrieve_top_k("aaa", visible=4, k=4) == (2, 0, 3, 1)
    assert found.retrieve_top_k("aaa", visible=2, k=9) == (0, 1)


def test_dense_retriever_encodes_each_text_once() -> None:
    encoder = LetterEncoder()
    found = get_retriever("dense", ["a", "b"], encoder=encoder)
    found.retrieve_top_k("a", visible=1, k=1)
    found.retrieve_top_k("c", visible=2, k=1)
    found.retrieve_top_k("c", visible=1, k=1)
    assert encoder.calls == [["a", "b"], ["c"]]


def test_dense_retriever_with_empty_history_encodes_nothing() -> None:
    encoder = LetterEncoder()
    assert get_retriever("dense", [], encoder=encoder).retrieve_top_k("a", visible=0, k=2) == ()
    assert encoder.calls == []


def test_dense_retriever_refuses_vectors_that_are_not_finite() -> None:
    def encode_as_nan(texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return np.full((len(texts), 2), np.nan, dtype=np.float32)

    with pytest.raises(IntegrityError, match="not finite for the text 'hello'"):
        get_retriever("dense", ["hello"], encoder=encode_as_nan)


def test_get_retriever_refuses_dense_without_encoder() -> None:
    with pytest.raises(UsageError, match="needs an encoder"):
        get_retriever("dense", ["hello"])
