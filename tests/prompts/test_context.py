"""Invariant 4: the context of a question is strictly earlier than the question."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.config import from_plain
from idiolect.errors import UsageError
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.models.tiny import make_byte_tokenizer
from idiolect.profiles.profile import Profile
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import PromptConfig, PromptRenderer
from idiolect.tasks.registry import get_task
from support.tiny_people import RATING, make_rater

PROMPTER = PromptRenderer(make_byte_tokenizer(), PromptConfig(max_tokens=400))
WORDS = ("alien", "ghost", "river", "queen", "storm")

films = st.builds(
    lambda words, rating: {"title": " ".join(words), "rating": rating, "genres": "Drama"},
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    st.sampled_from("12345"),
)
times = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0]))
contexts = st.builds(
    ContextConfig,
    retrieval=st.sampled_from(["none", "bm25", "recent", "random"]),
    k=st.integers(1, 4),
    profile=st.booleans(),
)


@st.composite
def draw_histories(draw: st.DrawFn) -> History:
    """Draw up to seven films, many at the same time."""
    items = [
        Interaction(id=f"i{n}", position=n, time=draw(times), fields=draw(films))
        for n in range(draw(st.integers(1, 7)))
    ]
    return History.from_interactions("ann", items)


def make_profile(cut: int, text: str) -> Profile:
    return Profile(person="ann", cut=cut, text=text, writer="w", fingerprint="f", question="q")


def decode(ids: tuple[int, ...]) -> str:
    """Return the tokens as text."""
    return str(PROMPTER.tokenizer.decode(list(ids)))


def replace_later_items(data: st.DataObject, history: History, place: int) -> History:
    """Replace the items from an index on by any number of others."""
    kept = history.items[:place]
    added = [
        Interaction(id=f"n{n}", position=100 + n, time=2.0, fields=data.draw(films))
        for n in range(data.draw(st.integers(0, 4)))
    ]
    return replace(history, items=(*kept, *added))


@given(data=st.data(), context=contexts, history=draw_histories())
def test_build_item_example_ignores_later_items_and_profiles(
    data: st.DataObject, context: ContextConfig, history: History
) -> None:
    place = data.draw(st.integers(0, len(history.items) - 1))
    after = replace_later_items(data, history, place + 1)
    # Profiles that were written from later items differ; earlier ones are the same.
    cuts = data.draw(st.lists(st.integers(1, 7), unique=True))
    profiles = [make_profile(cut, f"likes {cut}") for cut in cuts]
    profiles_after = [make_profile(p.cut, "lies" if p.cut > place else p.text) for p in profiles]
    one = PersonContext(history, RATING, PROMPTER, context, profiles=profiles)
    other = PersonContext(after, RATING, PROMPTER, context, profiles=profiles_after)
    assert one.build_item_example(place) == other.build_item_example(place)
    assert one.build_history_example(history.items[place]) == one.build_item_example(place)


@given(data=st.data(), context=contexts, history=draw_histories())
def test_build_item_example_prompt_ignores_own_answer(
    data: st.DataObject, context: ContextConfig, history: History
) -> None:
    place = data.draw(st.integers(0, len(history.items) - 1))
    item = history.items[place]
    other = replace(item, fields={**item.fields, "rating": data.draw(st.sampled_from("12345"))})
    after = replace(history, items=(*history.items[:place], other, *history.items[place + 1 :]))
    found = [
        PersonContext(h, RATING, PROMPTER, context).build_item_example(place)
        for h in (history, after)
    ]
    prompts = [e.ids[: e.answer_start] for e in found if e is not None]
    assert len(prompts) == 2 and prompts[0] == prompts[1]


@given(data=st.data(), context=contexts, history=draw_histories(), when=times)
def test_encode_query_prompt_uses_only_earlier_items(
    data: st.DataObject, context: ContextConfig, history: History, when: float | None
) -> None:
    """Earlier means by (time, position); a query without a time comes after the whole history."""
    query = Interaction(
        id="q", position=data.draw(st.integers(0, 9)), time=when, fields=data.draw(films)
    )
    visible = sum(i.sort_key < query.sort_key for i in history.items)
    if when is None:
        visible = len(history.items)
    profiles = [make_profile(visible or 1, "fits"), make_profile(visible + 1, "too late")]
    person = PersonContext(history, RATING, PROMPTER, context, profiles=profiles)
    after = replace_later_items(data, history, visible) if when is not None else history
    # Added items have time 2.0 and positions from 100 on, so they are never before the query.
    other = PersonContext(after, RATING, PROMPTER, context, profiles=profiles[:1])
    assert person.build_query_example(query) == other.build_query_example(query)
    prompt = person.encode_query_prompt(query, reserve_tokens=1)
    assert prompt == other.encode_query_prompt(query, reserve_tokens=1)
    assert "too late" not in decode(prompt)


@pytest.mark.parametrize("name", ["bm25", "recent", "random"])
def test_build_item_example_shows_earlier_items_and_profile(name: str) -> None:
    """Otherwise the tests above would also pass with an empty context."""
    history = make_rater("ann", 6)
    context = from_plain(ContextConfig, {"retrieval": name, "k": 9, "profile": True})
    person = PersonContext(
        history, RATING, PROMPTER, context, profiles=[make_profile(4, "Likes war.")]
    )
    example = person.build_item_example(5)
    assert example is not None
    text = decode(example.ids)
    assert all(RATING.retrieved_text(item) in text for item in history.items[:5])
    assert "About me: Likes war." in text
    first = person.build_item_example(0)
    assert first is not None and "About me" not in decode(first.ids)


def test_build_item_example_uses_plain_text_without_labels() -> None:
    fields = {"title": "On rivers", "abstract": "They flow."}
    history = History.from_interactions("ann", [Interaction(id="i", position=0, fields=fields)])
    example = PersonContext(
        history, get_task("lamp-1"), PROMPTER, ContextConfig()
    ).build_item_example(0)
    assert example is not None and example.answer_start == 1
    assert "On rivers\nThey flow." in decode(example.ids)


def test_build_item_example_returns_none_without_answer() -> None:
    film = {"title": "Heat"}
    history = History.from_interactions("ann", [Interaction(id="i", position=0, fields=film)])
    assert PersonContext(history, RATING, PROMPTER, ContextConfig()).build_item_example(0) is None


def test_encode_query_prompt_rejects_prompt_that_cannot_fit() -> None:
    prompter = PromptRenderer(make_byte_tokenizer(), PromptConfig(max_tokens=20))
    history = make_rater("ann", 1)
    person = PersonContext(history, RATING, prompter, ContextConfig())
    with pytest.raises(UsageError, match="max_tokens: 20 is not enough"):
        person.encode_query_prompt(history.items[0], reserve_tokens=1)
    with pytest.raises(UsageError, match="must be at least 1"):
        ContextConfig(k=0)
