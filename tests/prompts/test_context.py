"""Invariant 4: what stands beside a question is strictly earlier than it."""

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
def histories(draw: st.DrawFn) -> History:
    """Up to seven films, many at the same moment."""
    made = [
        Interaction(id=f"i{n}", position=n, time=draw(times), fields=draw(films))
        for n in range(draw(st.integers(1, 7)))
    ]
    return History.from_interactions("ann", made)


def profile(cut: int, text: str) -> Profile:
    return Profile(person="ann", cut=cut, text=text, writer="w", fingerprint="f", question="q")


def shown(ids: tuple[int, ...]) -> str:
    """The tokens as text."""
    return str(PROMPTER.tokenizer.decode(list(ids)))


def changed_from(data: st.DataObject, history: History, place: int) -> History:
    """Items from a place on replaced, taken away, or more of them."""
    kept = history.items[:place]
    added = [
        Interaction(id=f"n{n}", position=100 + n, time=2.0, fields=data.draw(films))
        for n in range(data.draw(st.integers(0, 4)))
    ]
    return replace(history, items=(*kept, *added))


@given(data=st.data(), context=contexts, history=histories())
def test_an_item_is_the_same_whatever_comes_after_it(
    data: st.DataObject, context: ContextConfig, history: History
) -> None:
    place = data.draw(st.integers(0, len(history.items) - 1))
    after = changed_from(data, history, place + 1)
    cuts = data.draw(st.lists(st.integers(1, 7), unique=True))
    told = [profile(cut, f"likes {cut}") for cut in cuts]
    told_after = [profile(p.cut, "lies" if p.cut > place else p.text) for p in told]
    one = PersonContext(history, RATING, PROMPTER, context, profiles=told)
    other = PersonContext(after, RATING, PROMPTER, context, profiles=told_after)
    assert one.build_item_example(place) == other.build_item_example(place)
    assert one.build_history_example(history.items[place]) == one.build_item_example(place)


@given(data=st.data(), context=contexts, history=histories())
def test_an_item_does_not_see_its_own_answer(
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


@given(data=st.data(), context=contexts, history=histories(), when=times)
def test_a_query_sees_only_what_is_earlier(
    data: st.DataObject, context: ContextConfig, history: History, when: float | None
) -> None:
    """By (time, position); without a time it stands behind the whole history."""
    query = Interaction(
        id="q", position=data.draw(st.integers(0, 9)), time=when, fields=data.draw(films)
    )
    visible = sum(i.sort_key < query.sort_key for i in history.items)
    if when is None:
        visible = len(history.items)
    told = [profile(visible or 1, "fits"), profile(visible + 1, "too late")]
    person = PersonContext(history, RATING, PROMPTER, context, profiles=told)
    after = changed_from(data, history, visible) if when is not None else history
    # What was added stands at time 2.0 behind position 100: never before the query.
    other = PersonContext(after, RATING, PROMPTER, context, profiles=told[:1])
    assert person.build_query_example(query) == other.build_query_example(query)
    prompt = person.encode_query_prompt(query, room=1)
    assert prompt == other.encode_query_prompt(query, room=1)
    assert "too late" not in shown(prompt)


@pytest.mark.parametrize("name", ["bm25", "recent", "random"])
def test_what_is_earlier_is_shown(name: str) -> None:
    """So that the tests above do not pass because nothing is."""
    history = make_rater("ann", 6)
    context = from_plain(ContextConfig, {"retrieval": name, "k": 9, "profile": True})
    person = PersonContext(history, RATING, PROMPTER, context, profiles=[profile(4, "Likes war.")])
    example = person.build_item_example(5)
    assert example is not None
    text = shown(example.ids)
    assert all(RATING.retrieved_text(item) in text for item in history.items[:5])
    assert "About me: Likes war." in text
    first = person.build_item_example(0)
    assert first is not None and "About me" not in shown(first.ids)


def test_items_without_labels_are_learned_as_text() -> None:
    fields = {"title": "On rivers", "abstract": "They flow."}
    history = History.from_interactions("ann", [Interaction(id="i", position=0, fields=fields)])
    example = PersonContext(
        history, get_task("lamp-1"), PROMPTER, ContextConfig()
    ).build_item_example(0)
    assert example is not None and example.answer_start == 1
    assert "On rivers\nThey flow." in shown(example.ids)


def test_an_item_without_an_answer_is_no_example() -> None:
    film = {"title": "Heat"}
    history = History.from_interactions("ann", [Interaction(id="i", position=0, fields=film)])
    assert PersonContext(history, RATING, PROMPTER, ContextConfig()).build_item_example(0) is None


def test_a_question_that_cannot_fit_is_refused() -> None:
    prompter = PromptRenderer(make_byte_tokenizer(), PromptConfig(max_tokens=20))
    history = make_rater("ann", 1)
    person = PersonContext(history, RATING, prompter, ContextConfig())
    with pytest.raises(UsageError, match="max_tokens: 20 is not enough"):
        person.encode_query_prompt(history.items[0], room=1)
    with pytest.raises(UsageError, match="must be at least 1"):
        ContextConfig(k=0)
