"""BM25: scores, ranking, and independence of later items."""

from __future__ import annotations

from typing import Any, cast

import bm25s  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.retrieval.bm25 import Bm25Retriever, tokenize_texts

VOCABULARY = ["robot", "robots", "walking", "stable", "terrain", "the", "film", "a", "!", "été"]
texts = st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join)
histories = st.lists(texts, max_size=12)


def score_with_bm25s(texts: list[str], query: str) -> npt.NDArray[np.float64]:
    """Score with the slow reference: a new bm25s index of exactly the visible items."""
    documents = tokenize_texts(texts)
    if not any(documents):
        return np.zeros(len(texts))
    index = cast("Any", bm25s).BM25(dtype="float64")
    index.index(documents, show_progress=False)
    known = [word for word in tokenize_texts([query])[0] if word in index.vocab_dict]
    return index.get_scores(known) if known else np.zeros(len(texts))


@settings(max_examples=60)
@given(histories, texts, st.data())
def test_get_scores_equals_bm25s_index_of_visible_items(
    history: list[str], query: str, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    scores = Bm25Retriever(history).get_scores(query, visible=visible)
    np.testing.assert_allclose(
        scores, score_with_bm25s(history[:visible], query), rtol=1e-9, atol=1e-12
    )


@settings(max_examples=60)
@given(histories, histories, texts, st.data())
def test_get_scores_ignores_later_items(
    history: list[str], others: list[str], query: str, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    one = Bm25Retriever(history).get_scores(query, visible=visible)
    other = Bm25Retriever([*history[:visible], *others]).get_scores(query, visible=visible)
    assert one.tobytes() == other.tobytes()


@settings(max_examples=60)
@given(histories, texts, st.integers(0, 15), st.data())
def test_bm25_retrieve_top_k_is_best_first_with_ties_to_later_item(
    history: list[str], query: str, k: int, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    index = Bm25Retriever(history)
    scores = index.get_scores(query, visible=visible)
    expected = sorted(range(visible), key=lambda i: (-scores[i], -i))[:k]
    assert index.retrieve_top_k(query, visible=visible, k=k) == tuple(expected)


def test_bm25_retrieve_top_k_finds_item_with_same_stems() -> None:
    index = Bm25Retriever(["walking robots on sand", "a film about cooking", "cooking for two"])
    assert index.retrieve_top_k("a robot that walks", visible=3, k=1) == (0,)
    assert index.retrieve_top_k("cook", visible=2, k=2) == (1, 0)


def test_bm25_retrieve_top_k_penalizes_long_items() -> None:
    index = Bm25Retriever(["robots", "robots " + "terrain stable walking " * 5])
    assert index.retrieve_top_k("robots", visible=2, k=1) == (0,)


@pytest.mark.parametrize("history", [[], [""], ["", "!!"], ["the a"]])
def test_bm25_retrieve_top_k_without_words_returns_latest_items(history: list[str]) -> None:
    found = Bm25Retriever(history).retrieve_top_k("robots", visible=len(history), k=5)
    assert found == tuple(reversed(range(len(history))))


def test_bm25_retriever_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Bm25Retriever(["walking robots"]).retrieve_top_k("robot", visible=1, k=1)
    assert capfd.readouterr() == ("", "")
