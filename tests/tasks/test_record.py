"""Record keys: which items of two people are the same record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.history.interaction import Interaction
from idiolect.tasks.record import record_key
from idiolect.tasks.registry import get_task


def make_item(**fields: str) -> Interaction:
    return Interaction(id="i", position=0, fields=fields)


@given(st.text(alphabet="abcé1", min_size=1), st.lists(st.sampled_from(" .,-\n!"), max_size=5))
def test_record_key_ignores_case_spacing_and_punctuation(text: str, noise: list[str]) -> None:
    assert record_key("".join(noise) + text.upper() + " ".join(noise)) == record_key(text)


@given(st.text(alphabet="ab1"), st.text(alphabet="ab1"))
def test_record_key_differs_for_different_words(one: str, other: str) -> None:
    assert (record_key(one) == record_key(other)) == (one == other)


def test_record_key_without_letter_is_none() -> None:
    assert record_key("") is record_key("... !") is None


@pytest.mark.parametrize(
    ("name", "query", "earlier"),
    [
        ("lamp-1", {"title": "A", "option1": "x", "option2": "y"}, {"title": "a", "abstract": "b"}),
        ("lamp-2n", {"text": "A b"}, {"text": "a  b", "title": "t", "category": "travel"}),
        ("lamp-3", {"text": "A b"}, {"text": "a b.", "score": "4"}),
        ("lamp-4", {"text": "A b"}, {"text": "a b", "title": "t"}),
        ("lamp-5", {"abstract": "A b"}, {"abstract": "a b", "title": "t"}),
        ("lamp-6", {"text": "A b"}, {"text": "a b", "title": "t"}),
        ("lamp-7", {"text": "neutral", "tweet": "A b!"}, {"text": "a b"}),
    ],
)
def test_task_record_key_is_equal_for_query_and_item(
    name: str, query: dict[str, str], earlier: dict[str, str]
) -> None:
    record = get_task(name).record_key
    assert record(make_item(**query)) == record(make_item(**earlier)) is not None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lamp-2", {"description": "a film", "tag": "comedy"}),
        ("rating", {"title": "M", "rating": "5"}),
        ("reply", {"context": "hi", "reply": "hello"}),
    ],
)
def test_task_record_key_is_none_for_judgments_of_shared_things(
    name: str, fields: dict[str, str]
) -> None:
    assert get_task(name).record_key(make_item(**fields)) is None
