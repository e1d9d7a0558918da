"""The query parser on the official wordings of the LaMP benchmark, written out here."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idiolect.errors import DataError
from idiolect.tasks.registry import get_task

TAGS = (
    "sci-fi, based on a book, comedy, action, twist ending, dystopia, dark comedy, classic, "
    "psychology, fantasy, romance, thought-provoking, social commentary, violence, true story"
)
CATEGORIES = (
    "women, religion, politics, style & beauty, entertainment, culture & arts, sports, "
    "science & technology, travel, business, crime, education, healthy living, parents, "
    "food & drink"
)
OFFICIAL = {
    "lamp-1": 'For an author who has written the paper with the title "{title}", which reference '
    "is related? Just answer with [1] or [2] without explanation. "
    '[1]: "{option1}" [2]: "{option2}"',
    "lamp-2": "Which tag does this movie relate to among the following tags? Just answer with the "
    f"tag name without further explanation. tags: [{TAGS}] description: {{description}}",
    "lamp-2n": "Which category does this article relate to among the following categories? Just "
    "answer with the category name without further explanation. "
    f"categories: [{CATEGORIES}] article: {{text}}",
    "lamp-3": "What is the score of the following review on a scale of 1 to 5? just answer with "
    "1, 2, 3, 4, or 5 without further explanation. review: {text}",
    "lamp-4": "Generate a headline for the following article: {text}",
    "lamp-5": "Generate a title for the following abstract of a paper: {abstract}",
    "lamp-6": "Generate a subject for the following email: {text}",
    "lamp-7": "Paraphrase the following tweet without any explanation before or after it: {text}",
}
LAMP = sorted(OFFICIAL)
values = st.text(min_size=1, max_size=60).map(str.strip).filter(bool)


def is_unambiguous(values: Mapping[str, str]) -> bool:
    """Return whether no field contains the text that ends it."""
    return '"' not in "".join(values.values()) or len(values) == 1


@given(st.data())
def test_parse_input_of_official_query_returns_fields(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(LAMP))
    task = get_task(name)
    fields = data.draw(
        st.fixed_dictionaries(dict.fromkeys(task.input_fields, values)).filter(is_unambiguous)
    )
    assert task.parse_input(OFFICIAL[name].format(**fields)) == fields


@given(values, st.sampled_from([name for name in LAMP if name != "lamp-1"]))
@example('He said: "[2]: tags: [a] description: b"', "lamp-2")
@example("Generate a headline for the following article: again", "lamp-4")
def test_parse_input_accepts_text_that_contains_wording(text: str, name: str) -> None:
    task = get_task(name)
    (field,) = task.input_fields
    assert task.parse_input(OFFICIAL[name].format(**{field: text})) == {field: text}


def test_parse_input_of_citation_accepts_quotes_in_titles() -> None:
    fields = {"title": 'On "deep" nets', "option1": "A: [2] of it", "option2": '"B"'}
    assert get_task("lamp-1").parse_input(OFFICIAL["lamp-1"].format(**fields)) == fields


@pytest.mark.parametrize("name", LAMP)
def test_parse_input_ignores_case_and_white_space_of_wording(name: str) -> None:
    task = get_task(name)
    fields = dict.fromkeys(task.input_fields, "some words")
    wording = OFFICIAL[name].replace(" [", "\n[").replace("Just", "just").replace(": {", ":\n  {")
    assert task.parse_input(f" {wording.format(**fields)}\n") == fields


def test_parse_input_of_movie_tagging_accepts_any_tag_list() -> None:
    text = OFFICIAL["lamp-2"].replace(TAGS, "violence, comedy").format(description="A film.")
    assert get_task("lamp-2").parse_input(text) == {"description": "A film."}


@pytest.mark.parametrize("name", LAMP)
def test_parse_input_refuses_query_of_other_task(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name}: not a query of this task: 'Sing a song'"):
        get_task(name).parse_input("Sing a song")
    with pytest.raises(DataError, match=name):
        get_task(name).parse_input("")


@pytest.mark.parametrize("name", LAMP)
def test_parse_input_refuses_empty_field(name: str) -> None:
    task = get_task(name)
    last = task.input_fields[-1]
    fields = dict.fromkeys(task.input_fields, "words") | {last: " "}
    with pytest.raises(DataError, match=f"{last} is empty"):
        task.parse_input(OFFICIAL[name].format(**fields))
