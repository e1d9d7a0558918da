"""The tasks: prompts, answers, metrics and parsers."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import DataError, UsageError
from idiolect.history.interaction import Interaction
from idiolect.tasks.registry import get_task, task_names
from idiolect.tasks.task import Task

# A marked word does not occur in a template by chance.
MARK = "qx{}zv"
NAMES = task_names()
words = st.text(alphabet=string.ascii_lowercase + " .,'\"[]{}\né", max_size=30)


def make_query(task: Task, **fields: str) -> Interaction:
    """Make a query in which each field is a marked word."""
    return _make_interaction((*task.input_fields, task.target_field), fields)


def make_item(task: Task, **fields: str) -> Interaction:
    """Make a history item in which each field is a marked word."""
    return _make_interaction(task.history_fields, fields)


def _make_interaction(kinds: tuple[str, ...], fields: dict[str, str]) -> Interaction:
    marked = {name: MARK.format(name) for name in kinds}
    return Interaction(id="i", position=0, fields=marked | fields)


def test_task_names_lists_all_tasks() -> None:
    lamp = ("lamp-1", "lamp-2", "lamp-2n", "lamp-3", "lamp-4", "lamp-5", "lamp-6", "lamp-7")
    assert (*lamp, "rating", "reply", "word-relation") == NAMES
    assert [get_task(name).name for name in NAMES] == list(NAMES)


@pytest.mark.parametrize("spelling", ["LaMP_5", "lamp5", "lamp-5", "LAMP 5", " LaMP-5 "])
def test_get_task_accepts_spellings_of_lamp_names(spelling: str) -> None:
    assert get_task(spelling).name == "lamp-5"
    assert get_task("LaMP_2N").name == "lamp-2n"


@pytest.mark.parametrize("name", ["", "lamp-9", "citation", "lamp"])
def test_get_task_with_unknown_name_lists_known_names(name: str) -> None:
    known = r"unknown task .*; known: lamp-1, .*rating, reply, word-relation"
    with pytest.raises(UsageError, match=known):
        get_task(name)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_task_prompt_has_all_input_fields_and_never_the_target(
    name: str, data: st.DataObject
) -> None:
    task = get_task(name)
    # Each field is a marked word plus arbitrary text.
    noise = {field: data.draw(words) for field in task.input_fields}
    fields = {field: f"{MARK.format(field)}{noise[field]}" for field in task.input_fields}
    text = task.prompt(make_query(task, **fields)).text
    flat = " ".join(text.split())
    for value in fields.values():
        assert " ".join(value.split()) in flat
    assert MARK.format(task.target_field) not in text


@pytest.mark.parametrize("name", NAMES)
def test_task_prompt_ignores_target(name: str) -> None:
    task = get_task(name)
    one, other = (make_query(task, **{task.target_field: t}) for t in ("one", "other"))
    unknown = Interaction(id="i", position=0, fields={f: one.fields[f] for f in task.input_fields})
    assert task.prompt(one) == task.prompt(other) == task.prompt(unknown)
    assert task.search_text(one) == task.search_text(other) == task.search_text(unknown)
    assert (task.target(one), task.target(unknown)) == ("one", None)


@pytest.mark.parametrize("name", NAMES)
def test_task_prompt_body_is_first_input_field_only(name: str) -> None:
    task = get_task(name)
    prompt = task.prompt(make_query(task))
    assert MARK.format(task.input_fields[0]) in prompt.body
    assert not any(MARK.format(field) in prompt.body for field in task.input_fields[1:])
    assert len((prompt.before + prompt.after).split()) <= 40


@pytest.mark.parametrize("name", NAMES)
def test_task_retrieved_text_starts_with_label(name: str) -> None:
    task = get_task(name)
    earlier = make_item(task)
    # Labels are among the first words, which a cut from the right does not reach.
    taught = task.target_field if task.labeled else task.history_fields[0]
    assert MARK.format(taught) in " ".join(task.retrieved_text(earlier).split()[:20])
    assert MARK.format(taught) in task.passage(earlier)
    assert task.index_text(earlier).strip() and task.search_text(earlier).strip()


@pytest.mark.parametrize("name", NAMES)
def test_task_choices_metrics_and_decode_agree(name: str) -> None:
    task = get_task(name)
    assert (task.target_field in task.history_fields) == task.labeled
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


def test_lamp_choices_are_those_of_the_benchmark() -> None:
    assert get_task("lamp-1").choices == ("[1]", "[2]")
    assert len(get_task("lamp-2").choices) == len(get_task("lamp-2n").choices) == 15
    assert {"sci-fi", "true story"} <= set(get_task("lamp-2").choices)
    assert {"style & beauty", "food & drink"} <= set(get_task("lamp-2n").choices)
    for name in ("lamp-2", "lamp-2n"):
        before = get_task(name).prompt(make_query(get_task(name))).before
        assert all(choice in before for choice in get_task(name).choices)


def test_citation_prompt_lists_both_options_in_order() -> None:
    text = get_task("lamp-1").prompt(make_query(get_task("lamp-1"))).text
    assert "\n[1] qxoption1zv\n[2] qxoption2zv" in text


def test_rating_prompt_shows_film_once() -> None:
    task = get_task("rating")
    film = {"title": "Toy Story", "year": "1995", "genres": "Animation|Comedy", "rating": "5"}
    full = make_item(task, **film)
    assert task.prompt(full).text == "Rate the film 1-5:\nToy Story (1995), Animation, Comedy"
    assert task.retrieved_text(full) == "Toy Story (1995): 5"
    assert task.prompt(make_item(task, **film | {"title": "Toy Story (1995)"})) == task.prompt(full)
    bare = make_item(task, title="Toy Story")
    assert task.prompt(bare).text == "Rate the film 1-5:\nToy Story"


def test_rating_parse_input_reverses_prompt() -> None:
    task = get_task("rating")
    film = {"title": "Seven (a. k. a. Se7en)", "year": "1995", "genres": "Crime, Thriller"}
    assert task.parse_input(task.prompt(make_item(task, **film)).body) == film
    assert task.parse_input("M (1931)") == {"title": "M", "year": "1931"}
    for broken in ("", "M", "(1931)"):
        with pytest.raises(DataError, match="rating: not a film"):
            task.parse_input(broken)


def test_reply_prompt_keeps_last_lines_of_long_context() -> None:
    task = get_task("reply")
    lines = [f"{MARK.format(n)} {'word ' * 19}".strip() for n in range(10)]
    body = task.prompt(make_item(task, context="\n".join(lines))).body
    assert body.splitlines() == lines[-4:]
    endless = task.prompt(make_item(task, context="word " * 500 + "last")).body
    assert endless.split()[-1] == "last" and len(endless.split()) == 96
    memory = task.retrieved_text(
        make_item(task, context="\n".join([*lines, "how are you?"]), reply="fine")
    )
    assert memory == "how are you?\nMy reply: fine"


def test_reply_parse_input_takes_whole_text_as_context() -> None:
    assert get_task("reply").parse_input(" hi\nhow are you? ") == {"context": "hi\nhow are you?"}
    with pytest.raises(DataError, match="empty"):
        get_task("reply").parse_input(" \n")


def test_word_relation_prompt_shows_question() -> None:
    task = get_task("word-relation")
    fields = task.parse_input(" What are parts of\na knife? ")
    answered = make_item(task, **fields, answer="blade")
    assert task.prompt(answered).text == "Answer with a word or two.\nWhat are parts of a knife?"
    assert task.retrieved_text(answered) == "What are parts of a knife? blade"
    assert task.target(answered) == "blade"
    with pytest.raises(DataError, match="the question is empty"):
        task.parse_input(" ")
