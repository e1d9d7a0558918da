"""Tests of dataset summaries against hand-counted values."""

from __future__ import annotations

from pathlib import Path

from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.summary import FieldStats, summarize_dataset
from idiolect.history.write import write_dataset


def make_item(position: int, time: float | None = None, **fields: str) -> Interaction:
    return Interaction(id=str(position), position=position, fields=fields, time=time)


def test_summarize_dataset_counts_items_and_fields(tmp_path: Path) -> None:
    # Three people with different lengths and missing fields.
    people = [
        History.from_interactions(
            "ann", [make_item(0, 30.0, text="one two", score="5"), make_item(1, 10.0, text=" ")]
        ),
        History.from_interactions(
            "bob", [], [make_item(0, text="a b c", score="1"), make_item(1, text="d")]
        ),
        History.from_interactions(
            "cy", [make_item(k, text="one two three four") for k in range(3)]
        ),
    ]
    dataset = write_dataset(
        tmp_path / "data", people, task="lamp-3", source="made up", splits={"bob": "test"}
    )
    found = summarize_dataset(dataset, answer_field="score")
    assert (found.people, found.items, found.queries) == (3, 5, 2)
    assert found.splits == {"": 2, "test": 1}
    assert found.queries_with_answer == 1
    assert (found.shortest, found.median, found.longest) == (0, 2.0, 3)
    assert (found.first_time, found.last_time) == (10.0, 30.0)
    # Fractions are of all five items.
    assert found.item_fields == {
        "score": FieldStats(filled=0.2, mean_words=1.0),
        "text": FieldStats(filled=0.8, mean_words=14 / 4),
    }
    assert found.query_fields["text"] == FieldStats(filled=1.0, mean_words=2.0)
    assert [e.person for e in found.examples] == ["ann", "cy"]
    assert found.examples[1].item in people[2].items


def test_summarize_dataset_without_people_is_empty(tmp_path: Path) -> None:
    found = summarize_dataset(write_dataset(tmp_path / "data", [], task="reply", source="none"))
    assert (found.people, found.items, found.median, found.examples) == (0, 0, 0.0, ())
    assert (found.first_time, found.queries_with_answer) == (None, None)
