"""The baseline retrievers: most recent items and random items; and the registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import UsageError
from idiolect.retrieval.registry import get_retriever, retriever_names


@given(st.integers(0, 30), st.integers(-1, 40))
def test_recent_retriever_returns_last_visible_items(visible: int, k: int) -> None:
    found = get_retriever("recent", ["x"] * 30).retrieve_top_k("x", visible=visible, k=k)
    assert found == tuple(reversed(range(visible)))[: max(k, 0)]


@given(st.integers(0, 30), st.integers(0, 40), st.text(max_size=5))
def test_random_retriever_draws_distinct_visible_items_repeatably(
    visible: int, k: int, text: str
) -> None:
    found = get_retriever("random", [], seed=1, person="p").retrieve_top_k(
        text, visible=visible, k=k
    )
    assert len(found) == len(set(found)) == min(k, visible)
    assert set(found) <= set(range(visible))
    again = get_retriever("random", ["other"], seed=1, person="p")
    assert again.retrieve_top_k(text, visible=visible, k=k) == found


def test_random_retriever_depends_on_seed_person_visible_and_text() -> None:
    def draw(seed: int = 0, person: str = "p", visible: int = 1000, text: str = "t") -> object:
        return get_retriever("random", [], seed=seed, person=person).retrieve_top_k(
            text, visible=visible, k=5
        )

    draws = [draw(), draw(seed=1), draw(person="q"), draw(visible=999), draw(text="u")]
    assert len(set(draws)) == len(draws)


def test_get_retriever_knows_all_names_and_refuses_others() -> None:
    for name in set(retriever_names()) - {"dense"}:
        assert get_retriever(name, ["a", "b"]).retrieve_top_k("a", visible=1, k=5) == (0,)
    with pytest.raises(UsageError, match="unknown retriever 'tfidf'; known: bm25, dense"):
        get_retriever("tfidf", [])
