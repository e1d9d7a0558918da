from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import DataError, UsageError
from idiolect.history.interaction import Interaction
from idiolect.tasks.registry import get_task, task_names
from idiolect.tasks.task import Task

# Marked words cannot stand in a template by chance.
MARK = "qx{}zv"
NAMES = task_names()
words = st.text(alphabet=string.ascii_lowercase + " .,'\"[]{}\né", max_size=30)


def query(task: Task, **fields: str) -> Interaction:
    """A query whose every field holds a marked word of its own."""
    return _filled((*task.input_fields, task.target_field), fields)


def item(task: Task, **fields: str) -> Interaction:
    """A history item whose every field holds a marked word of its own."""
    return _filled(task.history_fields, fields)


def _filled(kinds: tuple[str, ...], fields: dict[str, str]) -> Interaction:
    marked = {name: MARK.format(name) for name in kinds}
    return Interaction(id="i", position=0, fields=marked | fields)


def test_the_names_are_the_agreed_ones() -> None:
    lamp = ("lamp-1", "lamp-2", "lamp-2n", "lamp-3", "lamp-4", "lamp-5", "lamp-6", "lamp-7")
    assert (*lamp, "rating", "reply", "word-relation") == NAMES
    assert [get_task(name).name for name in NAMES] == list(NAMES)


@pytest.mark.parametrize("spelling", ["LaMP_5", "lamp5", "lamp-5", "LAMP 5", " LaMP-5 "])
def test_spellings_of_one_task(spelling: str) -> None:
    assert get_task(spelling).name == "lamp-5"
    assert get_task("LaMP_2N").name == "lamp-2n"


@pytest.mark.parametrize("name", ["", "lamp-9", "citation", "lamp"])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    known = r"unknown task .*; known: lamp-1, .*rating, reply, word-relation"
    with pytest.raises(UsageError, match=known):
        get_task(name)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_the_prompt_holds_every_input_field_and_never_the_target(
    name: str, data: st.DataObject
) -> None:
    task = get_task(name)
    noise = {field: data.draw(words) for field in task.input_fields}
    fields = {field: f"{MARK.format(field)}{noise[field]}" for field in task.input_fields}
    text = task.prompt(query(task, **fields)).text
    flat = " ".join(text.split())
    for value in fields.values():
        assert " ".join(value.split()) in flat
    assert MARK.format(task.target_field) not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_does_not_depend_on_the_target(name: str) -> None:
    task = get_task(name)
    one, other = (query(task, **{task.target_field: t}) for t in ("one", "other"))
    unknown = Interaction(id="i", position=0, fields={f: one.fields[f] for f in task.input_fields})
    assert task.prompt(one) == task.prompt(other) == task.prompt(unknown)
    assert task.search_text(one) == task.search_text(other) == task.search_text(unknown)
    assert (task.target(one), task.target(unknown)) == ("one", None)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_input_field_may_be_shortened(name: str) -> None:
    task = get_task(name)
    prompt = task.prompt(query(task))
    assert MARK.format(task.input_fields[0]) in prompt.body
    assert not any(MARK.format(field) in prompt.body for field in task.input_fields[1:])
    assert len((prompt.before + prompt.after).split()) <= 40


@pytest.mark.parametrize("name", NAMES)
def test_an_item_shows_what_it_teaches(name: str) -> None:
    task = get_task(name)
    earlier = item(task)
    # Labels stand within the first words, where a cut does not reach them.
    taught = task.target_field if task.labelled else task.history_fields[0]
    assert MARK.format(taught) in " ".join(task.retrieved_text(earlier).split()[:20])
    assert MARK.format(taught) in task.passage(earlier)
    assert task.index_text(earlier).strip() and task.search_text(earlier).strip()


@pytest.mark.parametrize("name", NAMES)
def test_answers_metrics_and_decoding_agree(name: str) -> None:
    task = get_task(name)
    assert (task.target_field in task.history_fields) == task.labelled
    assert task.target_field not in task.input_fields
    expected = {
        "generate": ((), ("perplexity", "rouge_1", "rouge_l")),
        "argmax": (task.choices, ("accuracy", "macro_f1")),
        "median": (("1", "2", "3", "4", "5"), ("mae", "rmse")),
    }[task.decode]
    assert (task.choices, tuple(sorted(task.metrics))) == expected
    assert (task.decode == "generate") == (not task.choices)
    assert len(set(task.choices)) == len(task.choices)
    assert task.profile_question.count("?") == 1


def test_the_choices_are_the_benchmarks() -> None:
    assert get_task("lamp-1").choices == ("[1]", "[2]")
    assert len(get_task("lamp-2").choices) == len(get_task("lamp-2n").choices) == 15
    assert {"sci-fi", "true story"} <= set(get_task("lamp-2").choices)
    assert {"style & beauty", "food & drink"} <= set(get_task("lamp-2n").choices)
    for name in ("lamp-2", "lamp-2n"):
        before = get_task(name).prompt(query(get_task(name))).before
        assert all(choice in before for choice in get_task(name).choices)


def test_a_citation_keeps_both_options_apart_and_in_order() -> None:
    text = get_task("lamp-1").prompt(query(get_task("lamp-1"))).text
    assert "\n[1] qxoption1zv\n[2] qxoption2zv" in text


def test_a_film_is_told_once_and_shortly() -> None:
    task = get_task("rating")
    film = {"title": "Toy Story", "year": "1995", "genres": "Animation|Comedy", "rating": "5"}
    full = item(task, **film)
    assert task.prompt(full).text == "Rate the film 1-5:\nToy Story (1995), Animation, Comedy"
    assert task.retrieved_text(full) == "Toy Story (1995): 5"
    assert task.prompt(item(task, **film | {"title": "Toy Story (1995)"})) == task.prompt(full)
    bare = item(task, title="Toy Story")
    assert task.prompt(bare).text == "Rate the film 1-5:\nToy Story"


def test_films_are_read_as_they_are_written() -> None:
    task = get_task("rating")
    film = {"title": "Seven (a. k. a. Se7en)", "year": "1995", "genres": "Crime, Thriller"}
    assert task.parse_input(task.prompt(item(task, **film)).body) == film
    assert task.parse_input("M (1931)") == {"title": "M", "year": "1931"}
    for broken in ("", "M", "(1931)"):
        with pytest.raises(DataError, match="rating: not a film"):
            task.parse_input(broken)


def test_a_long_conversation_keeps_its_last_lines() -> None:
    task = get_task("reply")
    lines = [f"{MARK.format(n)} {'word ' * 19}".strip() for n in range(10)]
    body = task.prompt(item(task, context="\n".join(lines))).body
    assert body.splitlines() == lines[-4:]
    endless = task.prompt(item(task, context="word " * 500 + "last")).body
    assert endless.split()[-1] == "last" and len(endless.split()) == 96
    memory = task.retrieved_text(
        item(task, context="\n".join([*lines, "how are you?"]), reply="fine")
    )
    assert memory == "how are you?\nMy reply: fine"


def test_a_conversation_is_its_own_query_string() -> None:
    assert get_task("reply").parse_input(" hi\nhow are you? ") == {"context": "hi\nhow are you?"}
    with pytest.raises(DataError, match="empty"):
        get_task("reply").parse_input(" \n")


def test_a_round_of_the_game_is_asked_as_it_was() -> None:
    task = get_task("word-relation")
    fields = task.parse_input(" What are parts of\na knife? ")
    answered = item(task, **fields, answer="blade")
    assert task.prompt(answered).text == "Answer with a word or two.\nWhat are parts of a knife?"
    assert task.retrieved_text(answered) == "What are parts of a knife? blade"
    assert task.target(answered) == "blade"
    with pytest.raises(DataError, match="the question is empty"):
        task.parse_input(" ")
