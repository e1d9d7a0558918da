"""The facts writer: statements about ratings, labels and texts."""

from __future__ import annotations

import pytest

from idiolect.history.interaction import Interaction
from idiolect.profiles.facts import build_fact_profile
from idiolect.tasks.registry import get_task, task_names


def make_items(*rows: dict[str, str]) -> list[Interaction]:
    return [Interaction(id=str(n), position=n, fields=row) for n, row in enumerate(rows)]


def test_build_fact_profile_of_ratings_names_mean_and_genres() -> None:
    rows = [{"title": "x", "rating": "5", "genres": "War|Drama"}] * 3
    rows += [{"title": "x", "rating": "2", "genres": "Horror, Drama"}] * 3
    rows += [{"title": "x", "rating": "1", "genres": "Comedy"}] * 2
    assert build_fact_profile(make_items(*rows), get_task("rating")) == (
        "Mean rating 2.9, median 2, of 8. Rates high: War, Drama. Rates low: Horror."
    )
    assert build_fact_profile(make_items({"title": "x", "rating": "?"}), get_task("rating")) == ""


def test_build_fact_profile_of_labels_ranks_by_frequency() -> None:
    given = ["comedy", "action", "comedy", "classic"]
    rows = [{"description": "d", "tag": tag} for tag in given]
    assert build_fact_profile(make_items(*rows), get_task("lamp-2")) == (
        "Most often: comedy (50%), action (25%), classic (25%)."
    )


def test_build_fact_profile_of_texts_names_length_and_frequent_words() -> None:
    rows = [
        {"context": "SECRET SECRET", "reply": "Robots are fine"},
        {"context": "SECRET", "reply": "what robots what"},
        {"context": "x", "reply": "no, 2 2 2 robots"},
    ]
    assert (
        build_fact_profile(make_items(*rows), get_task("reply"))
        == "Usual length 3 words. Frequent words: robots."
    )
    tweets = make_items({"text": "one two"}, {"text": "three"})
    assert build_fact_profile(tweets, get_task("lamp-7")) == "Usual length 1.5 words."


@pytest.mark.parametrize("name", task_names())
def test_build_fact_profile_without_items_is_empty(name: str) -> None:
    assert build_fact_profile([], get_task(name)) == ""
