from __future__ import annotations

import pytest

from idiolect.history.interaction import Interaction
from idiolect.profiles.facts import build_fact_profile
from idiolect.tasks.registry import get_task, task_names


def items(*rows: dict[str, str]) -> list[Interaction]:
    return [Interaction(id=str(n), position=n, fields=row) for n, row in enumerate(rows)]


def test_ratings_and_what_is_rated_high_and_low() -> None:
    rows = [{"title": "x", "rating": "5", "genres": "War|Drama"}] * 3
    rows += [{"title": "x", "rating": "2", "genres": "Horror, Drama"}] * 3
    rows += [{"title": "x", "rating": "1", "genres": "Comedy"}] * 2
    assert build_fact_profile(items(*rows), get_task("rating")) == (
        "Mean rating 2.9, median 2, of 8. Rates high: War, Drama. Rates low: Horror."
    )
    assert build_fact_profile(items({"title": "x", "rating": "?"}), get_task("rating")) == ""


def test_labels_by_how_often_they_are_given() -> None:
    given = ["comedy", "action", "comedy", "classic"]
    rows = [{"description": "d", "tag": tag} for tag in given]
    assert build_fact_profile(items(*rows), get_task("lamp-2")) == (
        "Most often: comedy (50%), action (25%), classic (25%)."
    )


def test_length_and_words_of_what_a_person_writes() -> None:
    rows = [
        {"context": "SECRET SECRET", "reply": "Robots are fine"},
        {"context": "SECRET", "reply": "what robots what"},
        {"context": "x", "reply": "no, 2 2 2 robots"},
    ]
    assert (
        build_fact_profile(items(*rows), get_task("reply"))
        == "Usual length 3 words. Frequent words: robots."
    )
    tweets = items({"text": "one two"}, {"text": "three"})
    assert build_fact_profile(tweets, get_task("lamp-7")) == "Usual length 1.5 words."


@pytest.mark.parametrize("name", task_names())
def test_nothing_is_said_about_no_items(name: str) -> None:
    assert build_fact_profile([], get_task(name)) == ""
