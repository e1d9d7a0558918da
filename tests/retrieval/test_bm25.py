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


def rebuilt(texts: list[str], query: str) -> npt.NDArray[np.float64]:
    """The slow obvious version: a new bm25s index on exactly the visible items."""
    documents = tokenize_texts(texts)
    if not any(documents):
        return np.zeros(len(texts))
    index = cast("Any", bm25s).BM25(dtype="float64")
    index.index(documents, show_progress=False)
    known = [word for word in tokenize_texts([query])[0] if word in index.vocab_dict]
    return index.get_scores(known) if known else np.zeros(len(texts))


@settings(max_examples=60)
@given(histories, texts, st.data())
def test_scores_are_those_of_an_index_built_anew_on_the_visible_items(
    history: list[str], query: str, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    scores = Bm25Retriever(history).get_scores(query, visible=visible)
    np.testing.assert_allclose(scores, rebuilt(history[:visible], query), rtol=1e-9, atol=1e-12)


@settings(max_examples=60)
@given(histories, histories, texts, st.data())
def test_items_that_are_not_earlier_change_nothing(
    history: list[str], others: list[str], query: str, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    one = Bm25Retriever(history).get_scores(query, visible=visible)
    other = Bm25Retriever([*history[:visible], *others]).get_scores(query, visible=visible)
    assert one.tobytes() == other.tobytes()


@settings(max_examples=60)
@given(histories, texts, st.integers(0, 15), st.data())
def test_top_is_best_first_and_ties_go_to_the_later_item(
    history: list[str], query: str, k: int, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, len(history)))
    index = Bm25Retriever(history)
    scores = index.get_scores(query, visible=visible)
    expected = sorted(range(visible), key=lambda i: (-scores[i], -i))[:k]
    assert index.retrieve_top_k(query, visible=visible, k=k) == tuple(expected)


def test_it_finds_the_item_about_the_same_thing() -> None:
    index = Bm25Retriever(["walking robots on sand", "a film about cooking", "cooking for two"])
    assert index.retrieve_top_k("a robot that walks", visible=3, k=1) == (0,)
    assert index.retrieve_top_k("cook", visible=2, k=2) == (1, 0)


def test_long_items_are_held_back() -> None:
    index = Bm25Retriever(["robots", "robots " + "terrain stable walking " * 5])
    assert index.retrieve_top_k("robots", visible=2, k=1) == (0,)


@pytest.mark.parametrize("history", [[], [""], ["", "!!"], ["the a"]])
def test_histories_without_a_word_give_the_latest_items(history: list[str]) -> None:
    found = Bm25Retriever(history).retrieve_top_k("robots", visible=len(history), k=5)
    assert found == tuple(reversed(range(len(history))))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    Bm25Retriever(["walking robots"]).retrieve_top_k("robot", visible=1, k=1)
    assert capfd.readouterr() == ("", "")
