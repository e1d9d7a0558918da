from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.history.interaction import Interaction
from idiolect.tasks.record import record_key
from idiolect.tasks.registry import get_task


def item(**fields: str) -> Interaction:
    return Interaction(id="i", position=0, fields=fields)


@given(st.text(alphabet="abcé1", min_size=1), st.lists(st.sampled_from(" .,-\n!"), max_size=5))
def test_case_spacing_and_punctuation_do_not_matter(text: str, noise: list[str]) -> None:
    assert record_key("".join(noise) + text.upper() + " ".join(noise)) == record_key(text)


@given(st.text(alphabet="ab1"), st.text(alphabet="ab1"))
def test_different_words_are_different_records(one: str, other: str) -> None:
    assert (record_key(one) == record_key(other)) == (one == other)


def test_a_text_without_a_letter_is_no_record() -> None:
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
def test_a_query_and_the_item_that_holds_it_are_one_record(
    name: str, query: dict[str, str], earlier: dict[str, str]
) -> None:
    record = get_task(name).record_key
    assert record(item(**query)) == record(item(**earlier)) is not None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lamp-2", {"description": "a film", "tag": "comedy"}),
        ("rating", {"title": "M", "rating": "5"}),
        ("reply", {"context": "hi", "reply": "hello"}),
    ],
)
def test_choices_about_the_same_thing_are_not_the_same_record(
    name: str, fields: dict[str, str]
) -> None:
    assert get_task(name).record_key(item(**fields)) is None
