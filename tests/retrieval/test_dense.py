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


class Letters:
    """Counts of a, b and c, scaled to unit length; remembers how often it was called."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls.append(list(texts))
        counts = np.array([[t.count(c) for c in "abc"] for t in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)


@settings(max_examples=60)
@given(st.lists(texts, max_size=8), st.lists(texts, max_size=4), texts, st.data())
def test_only_visible_items_are_found_and_later_ones_change_nothing(
    history: list[str], others: list[str], query: str, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    found = get_retriever("dense", history, encoder=Letters()).retrieve_top_k(
        query, visible=visible, k=3
    )
    assert len(found) == len(set(found)) == min(3, visible)
    assert set(found) <= set(range(visible))
    other = get_retriever("dense", [*history[:visible], *others], encoder=Letters())
    assert other.retrieve_top_k(query, visible=visible, k=3) == found


def test_best_first_and_ties_to_the_later_item() -> None:
    found = get_retriever("dense", ["aa", "b", "a", "ab"], encoder=Letters())
    assert found.retrieve_top_k("aaa", visible=4, k=4) == (2, 0, 3, 1)
    assert found.retrieve_top_k("aaa", visible=2, k=9) == (0, 1)


def test_the_history_is_encoded_once() -> None:
    encoder = Letters()
    found = get_retriever("dense", ["a", "b"], encoder=encoder)
    found.retrieve_top_k("a", visible=1, k=1)
    found.retrieve_top_k("c", visible=2, k=1)
    found.retrieve_top_k("c", visible=1, k=1)
    assert encoder.calls == [["a", "b"], ["c"]]


def test_an_empty_history_needs_no_encoding() -> None:
    encoder = Letters()
    assert get_retriever("dense", [], encoder=encoder).retrieve_top_k("a", visible=0, k=2) == ()
    assert encoder.calls == []


def test_a_broken_encoder_is_refused() -> None:
    def broken(texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return np.full((len(texts), 2), np.nan, dtype=np.float32)

    with pytest.raises(IntegrityError, match="not finite for the text 'hello'"):
        get_retriever("dense", ["hello"], encoder=broken)


def test_dense_without_an_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match="needs an encoder"):
        get_retriever("dense", ["hello"])
