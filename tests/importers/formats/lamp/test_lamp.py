"""Tests of the import of LaMP's own files, user- and time-based, valid and broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import DataError, MissingError, UsageError
from idiolect.history.dates import to_unix
from idiolect.importers.registry import import_histories
from idiolect.importers.report import ImportedHistories, ImportOptions
from support.lamp_samples import (
    BY_TASK,
    SAMPLES,
    Sample,
    make_golds_file,
    make_paper,
    make_query,
    write_files,
)


def import_lamp(folder: Path, **options: Any) -> ImportedHistories:
    return import_histories(folder, format="lamp", options=ImportOptions(**options))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.task)
def test_lamp_detects_task_by_wording(tmp_path: Path, sample: Sample) -> None:
    question = {"id": "1", "input": sample.input, "profile": [{"id": "10", **sample.item}]}
    answers = {"task": sample.label, "golds": [{"id": "1", "output": sample.gold}]}
    files = {"dev_questions.json": [question], "dev_outputs.json": answers}
    imported = import_histories(write_files(tmp_path, files))
    assert (imported.importer, imported.task) == ("lamp", sample.task)
    (history,) = imported.histories
    assert history.person == "1"
    assert [(i.id, i.position, dict(i.fields)) for i in history.items] == [("10", 0, sample.fields)]
    assert [(q.id, q.position, dict(q.fields)) for q in history.queries] == [("1", 1, sample.query)]
    assert history.queries[0].time is None
    assert imported.splits == {"1": "test"}
    assert imported.report.format_lines() == [
        "dev_questions.json: read 2 history items and queries, skipped 0",
        "dev_outputs.json: read 1 answers, skipped 0",
    ]


def make_question(name: str, *profile: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**make_query(name, **more), "profile": list(profile)}


def test_lamp_imports_user_based_splits(tmp_path: Path) -> None:
    files = {
        "LaMP_5/train_questions.json": [make_question("1", make_paper("a"))],
        "LaMP_5/train_outputs.json": make_golds_file(**{"1": "Gold"}),
        "LaMP_5/dev_questions.json": [make_question("1", make_paper("b", date=2015))],
        "LaMP_5/dev_outputs.json": make_golds_file(**{"1": "Other gold"}),
        "LaMP_5/test_questions.json": [make_question("1")],
    }
    write_files(tmp_path, files)
    imported = import_lamp(tmp_path / "LaMP_5")
    assert imported.splits == {"train-1": "other", "dev-1": "test", "test-1": "test"}
    dev, test, train = imported.histories
    assert (dev.person, test.person, train.person) == ("dev-1", "test-1", "train-1")
    assert dev.items[0].time == to_unix("2015-01-01")
    assert train.queries[0].fields["title"] == "Gold"
    assert "title" not in test.queries[0].fields
    assert imported.report.notes == ("queries without an answer (prediction only): 1",)
    # One split alone: ids need no prefix.
    only = import_lamp(tmp_path / "LaMP_5", split="dev")
    assert [h.person for h in only.histories] == ["1"]
    assert import_lamp(tmp_path / "LaMP_5" / "dev_questions.json").histories == only.histories
    assert import_lamp(tmp_path / "LaMP_5" / "dev_outputs.json").histories == only.histories
    assert import_lamp(tmp_path).splits == imported.splits


def test_lamp_refuses_two_tasks(tmp_path: Path) -> None:
    write_files(
        tmp_path, {f"{t}/dev_questions.json": [make_question("1")] for t in ("LaMP_4", "LaMP_5")}
    )
    with pytest.raises(UsageError, match=r"more than one LaMP task; give one of them: .*LaMP_4"):
        import_lamp(tmp_path)


def list_visible_items(imported: ImportedHistories) -> dict[str, list[str]]:
    """Return the items that each query of the only person may see."""
    (history,) = imported.histories
    return {
        q.id: sorted(i.id for i in history.items[: history.count_visible_to(q)])
        for q in history.queries
    }


def test_lamp_queries_see_only_their_own_profiles(tmp_path: Path) -> None:
    a, b, c = (make_paper(n, date=f"201{k}-01-01") for k, n in enumerate("abc"))
    questions = [make_question("q1", b, a, user_id=7), make_question("q2", c, b, a, user_id=7)]
    imported = import_lamp(write_files(tmp_path, {"train_questions.json": questions}))
    assert list_visible_items(imported) == {"q1": ["a", "b"], "q2": ["a", "b", "c"]}
    assert [h.person for h in imported.histories] == ["7"]
    assert imported.report.files[0].read == 5
    assert imported.report.files[0].skipped == ()


def test_lamp_query_with_empty_profile_sees_nothing(tmp_path: Path) -> None:
    questions = [
        make_question("q1", user_id="u"),
        make_question("q2", make_paper("a", date=2011), user_id="u"),
    ]
    imported = import_lamp(write_files(tmp_path, {"train_questions.json": questions}))
    assert list_visible_items(imported) == {"q1": [], "q2": ["a"]}


def test_lamp_equal_profiles_need_no_dates(tmp_path: Path) -> None:
    questions = [
        make_question(f"q{k}", make_paper("a"), make_paper("b"), user_id="u") for k in range(3)
    ]
    imported = import_lamp(write_files(tmp_path, {"train_questions.json": questions}))
    assert list_visible_items(imported) == {key: ["a", "b"] for key in ("q0", "q1", "q2")}
    assert [q.time for q in imported.histories[0].queries] == [None] * 3


@pytest.mark.parametrize(
    "dates",
    [(None, None), (2011, 2011), (2012, 2011)],
    ids=["no dates", "one date", "the later question has the earlier item"],
)
def test_lamp_keeps_only_common_items_if_dates_do_not_separate(
    tmp_path: Path, dates: tuple[int | None, int | None]
) -> None:
    a, b = (make_paper(name, date=date) for name, date in zip("ab", dates, strict=True))
    questions = [make_question("q1", a, user_id="u"), make_question("q2", a, b, user_id="u")]
    imported = import_lamp(write_files(tmp_path, {"train_questions.json": questions}))
    assert list_visible_items(imported) == {"q1": ["a"], "q2": ["a"]}
    (skip,) = imported.report.files[0].skipped
    assert skip.count == 1
    assert skip.first.endswith("question q2, profile[1]")
    assert "not in every profile" in skip.reason


def test_lamp_keeps_date_of_question_if_it_leaks_nothing(tmp_path: Path) -> None:
    a, b = make_paper("a", date=2011), make_paper("b", date=2013)
    one, two = (
        make_question("q1", a, user_id="u", date=2012),
        make_question("q2", a, b, user_id="u"),
    )
    imported = import_lamp(write_files(tmp_path, {"train_questions.json": [one, two]}))
    assert list_visible_items(imported) == {"q1": ["a"], "q2": ["a", "b"]}
    assert imported.histories[0].queries[0].time == to_unix(2012)
    # A date after b would leak the answer, so only common items are kept.
    late = one | {"date": 2014}  # it would make b visible
    imported = import_lamp(write_files(tmp_path, {"train_questions.json": [late, two]}))
    assert list_visible_items(imported) == {"q1": ["a"], "q2": ["a"]}


def test_lamp_refuses_person_in_two_splits(tmp_path: Path) -> None:
    files = {
        "train_questions.json": [make_question("1", user_id="u")],
        "dev_questions.json": [make_question("2", make_paper("a"), user_id="u")],
    }
    write_files(tmp_path, files)
    with pytest.raises(DataError, match=r"user u is also in the dev questions.*--split"):
        import_lamp(tmp_path)
    assert len(import_lamp(tmp_path, split="train").histories) == 1


def test_lamp_counts_unusable_records(tmp_path: Path) -> None:
    review = BY_TASK["lamp-3"]
    # One valid item, three unusable ones, a duplicate, and a second item under the same id.
    profile = [
        {"id": "1", "text": "fine", "score": "4"},
        {"id": "2", "text": " ", "score": "4"},
        {"id": "3", "text": "no score"},
        {"id": "4", "text": "off the scale", "score": "9"},
        {"id": "1", "text": "fine", "score": "4"},
        {"id": "1", "text": "another", "score": 3.0},
    ]
    question = {"id": "q", "input": review.input, "profile": profile}
    off = {"id": "r", "input": review.input, "profile": []}
    answers = {"task": "LaMP_3", "golds": [{"id": "q", "output": 2}, {"id": "r", "output": "10"}]}
    files = {"dev_questions.json": [question, off], "dev_outputs.json": answers}
    imported = import_lamp(write_files(tmp_path, files))
    (history,) = imported.histories
    assert [(i.id, i.fields["score"]) for i in history.items] == [("1", "4"), ("1#2", "3")]
    assert history.queries[0].fields["score"] == "2"
    assert {(s.reason, s.count) for s in imported.report.files[0].skipped} == {
        ("an item without 'text'", 1),
        ("an item without 'score'", 1),
        ("an item whose 'score' is not a choice of the task", 1),
        ("a query whose answer is not a choice of the task", 1),
        ("a duplicate of an earlier record", 1),
    }


def test_lamp_accepts_blank_abstract_of_cited_paper(tmp_path: Path) -> None:
    sample = BY_TASK["lamp-1"]
    profile = [{"id": "1", "title": "T", "abstract": ""}, {"id": "2", "title": "", "abstract": "A"}]
    question = {"id": "q", "input": sample.input, "profile": profile}
    imported = import_lamp(write_files(tmp_path, {"dev_questions.json": [question]}))
    assert [dict(i.fields) for i in imported.histories[0].items] == [{"title": "T"}]


GOOD = make_question("1", make_paper("a"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ":1: expected a JSON array, found nothing"),
        ("{}", ":1: expected a JSON array, found '{}'"),
        ("[\n\n{]", ":3: not JSON"),
        ("[\n3", ":2: expected ',' or ']', found nothing"),
        ("[] []", ":1: the array has ended"),
        ("[]", "the file contains no questions"),
        ("[3]", "line 1: expected an object, found 3"),
        ([{**GOOD, "id": None}], "line 2, id: expected text, found nothing"),
        ([{**GOOD, "input": 5.5, "profile": 3}], "no LaMP task has questions like '5.5'"),
        ([{**GOOD, "profile": {}}], "question 1, profile: expected an array, found an object"),
        ([{**GOOD, "profile": ["x"]}], r"profile\[0\]: expected an object, found text"),
        (
            [{**GOOD, "profile": [make_paper("a", title=["x"])]}],
            r"profile\[0\].title: expected text",
        ),
        (
            [{**GOOD, "profile": [make_paper("a", date="soon")]}],
            r"profile\[0\].date: 'soon' is not a",
        ),
        (
            [{**GOOD, "profile": [make_paper("a", date=[1])]}],
            r"profile\[0\].date: \[1\] is not a date",
        ),
        ([GOOD, {**GOOD, "id": "2", "input": "Hi"}], "question 2.input: lamp-5: not a query"),
    ],
)
def test_lamp_names_place_of_error_in_questions(tmp_path: Path, content: Any, message: str) -> None:
    write_files(tmp_path, {"dev_questions.json": content})
    with pytest.raises(DataError, match=message) as caught:
        import_lamp(tmp_path / "dev_questions.json")
    assert "dev_questions.json" in str(caught.value)


def test_lamp_refuses_nan_date(tmp_path: Path) -> None:
    text = '[{"id": "1", "input": "x", "profile": [{"id": 2, "text": "t", "date": NaN}]}]'
    write_files(
        tmp_path, {"dev_questions.json": text.replace('"x"', f'"{BY_TASK["lamp-7"].input}"')}
    )
    with pytest.raises(DataError, match="date: nan is not a date"):
        import_lamp(tmp_path)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "the file: expected an object, found an array"),
        ({"task": "LaMP_5"}, "golds: expected an array, found nothing"),
        ({"golds": [{"id": "1"}]}, r"golds\[0\].output: expected text, found nothing"),
        (
            {"golds": [{"id": "1", "output": "a"}, {"id": "1", "output": "b"}]},
            "two different answers",
        ),
        (
            {"task": "LaMP_4", "golds": []},
            "the answers are for LaMP_4, but the questions for lamp-5",
        ),
        ('{"task":\n }', "dev_outputs.json:2: not JSON"),
    ],
)
def test_lamp_names_place_of_error_in_answers(tmp_path: Path, answers: Any, message: str) -> None:
    write_files(tmp_path, {"dev_questions.json": [GOOD], "dev_outputs.json": answers})
    with pytest.raises(DataError, match=message) as caught:
        import_lamp(tmp_path)
    assert "dev_outputs.json" in str(caught.value)


def test_lamp_raises_without_questions_of_split(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no \*_questions\.json"):
        import_lamp(tmp_path)
    write_files(tmp_path, {"dev_questions.json": [GOOD]})
    with pytest.raises(MissingError, match=r"no train_questions\.json"):
        import_lamp(tmp_path, split="train")


def test_lamp_accepts_named_task(tmp_path: Path) -> None:
    write_files(tmp_path, {"dev_questions.json": [GOOD]})
    assert import_lamp(tmp_path, task="LaMP_5").task == "lamp-5"
    with pytest.raises(DataError, match="lamp-4: not a query of this task"):
        import_lamp(tmp_path, task="lamp-4")
    with pytest.raises(UsageError, match="unknown task 'lamp-9'"):
        import_lamp(tmp_path, task="lamp-9")
