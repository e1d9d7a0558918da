"""Tests of the import of the OPPU and Per-Pcs releases, valid and broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import DataError, MissingError
from idiolect.history.dates import to_unix
from idiolect.importers.registry import detect_importer, import_histories
from idiolect.importers.report import ImportOptions
from support.lamp_samples import (
    SAMPLES,
    Sample,
    make_golds_file,
    make_paper,
    make_query,
    write_files,
)


def make_person(name: Any, profile: list[Any], query: list[Any]) -> dict[str, Any]:
    return {"user_id": name, "profile": profile, "query": query}


OPPU = {
    "user_top_100_history.json": [
        make_person(
            "t1",
            [make_paper("a", date="2017-01-01"), make_paper("b", date="2016")],
            [make_query("1")],
        ),
        make_person("t2", [make_paper("a")], [make_query("2"), make_query("3", gold="own")]),
    ],
    "user_top_100_history_label.json": make_golds_file(**{"1": "One", "2": "Two"}),
    "user_others.json": [
        make_person(900, [make_paper("c", date=2015)], [make_query("9", gold="Nine")]),
        make_person("t1", [make_paper("z")], [make_query("8", gold="Eight")]),
        make_person("none", [], []),
    ],
}


def test_oppu_imports_people_answers_and_splits(tmp_path: Path) -> None:
    imported = import_histories(write_files(tmp_path, OPPU))
    assert (imported.importer, imported.task) == ("oppu", "lamp-5")
    other, t1, t2 = imported.histories
    assert imported.splits == {"900": "other", "t1": "test", "t2": "test"}
    assert [i.id for i in t1.items] == ["b", "a"]
    assert [(q.position, q.fields["title"]) for q in t1.queries] == [(2, "One")]
    assert [q.fields["title"] for q in t2.queries] == ["Two", "own"]
    assert other.queries[0].fields == {"abstract": "Query 9.", "title": "Nine"}
    assert imported.report.format_lines() == [
        "user_top_100_history.json: read 6 history items and queries, skipped 0",
        "user_top_100_history_label.json: read 2 answers, skipped 0",
        "user_others.json: read 2 history items and queries, skipped 2, because",
        "  1: a person who is already in an earlier part (first: line 20, user t1)",
        "  1: a person with neither history nor query (first: line 37, user none)",
    ]
    dataset = imported.write_to_folder(tmp_path / "data")
    assert dataset.list_split_people("test") == ("t1", "t2")
    assert dataset.list_split_people("other") == ("900",)
    assert dataset.manifest["source"] == f"oppu: {tmp_path.name}"


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.folder], ids=lambda s: s.task)
def test_oppu_and_perpcs_import_all_tasks(tmp_path: Path, sample: Sample) -> None:
    item = {"id": 10, "date": 20170304, **sample.item}  # numbers, as in the releases
    query = {"id": 1, "input": sample.input, "gold": sample.gold}
    test = "user_more_100_history" if sample.task == "lamp-7" else "user_top_100_history"
    answers = {"task": sample.label, "golds": [{"id": 1, "output": sample.gold}]}
    people = [make_person(3, [item], [query])]
    oppu = {f"{test}.json": people, f"{test}_label.json": answers}
    # The same people in the layout of Per-Pcs, with one more for the base.
    perpcs_test = "user_more_100_history" if sample.task == "lamp-7" else "test_100/user_test_100"
    perpcs = {
        f"{perpcs_test}.json": people,
        f"{perpcs_test}_label.json": answers,
        "user_base_LLM.json": [make_person(4, [item], [query])],
    }
    for name, files in (("oppu", oppu), ("perpcs", perpcs)):
        imported = import_histories(write_files(tmp_path / name / sample.folder, files))
        assert (imported.importer, imported.task) == (name, sample.task)
        history = imported.histories[0]
        assert history.person == "3"
        assert [(i.id, dict(i.fields), i.time) for i in history.items] == [
            ("10", sample.fields, to_unix("2017-03-04"))
        ]
        assert [(q.id, dict(q.fields)) for q in history.queries] == [("1", sample.query)]
    assert imported.splits == {"3": "test", "4": "other"}


def test_perpcs_imports_all_parts(tmp_path: Path) -> None:
    def one(name: str) -> list[Any]:
        return [make_person(name, [make_paper("a")], [make_query(f"q{name}", gold="G")])]

    files = {
        "test_100/user_test_100.json": one("t"),
        "test_100/user_test_100_label.json": make_golds_file(qt="From the labels"),
        "user_anchor_candidate.json": one("c") + one("t"),
        "user_base_LLM.json": one("b") + one("c"),
        "user_reserve_10_percent.json": one("r"),
        "profile-id2text.json": {"t": "a profile"},
    }
    imported = import_histories(write_files(tmp_path, files))
    assert imported.splits == {"t": "test", "c": "candidate", "b": "other", "r": "reserve"}
    assert imported.histories[-1].queries[0].fields["title"] == "From the labels"
    assert imported.report.notes == (
        "queries whose own answer differs from the label file, which was used: 1",
    )
    for inside in ("test_100", "test_100/user_test_100.json", "user_base_LLM.json"):
        assert detect_importer(tmp_path / inside).name == "perpcs"
        assert import_histories(tmp_path / inside).splits == imported.splits


def test_oppu_keeps_citation_of_item(tmp_path: Path) -> None:
    (sample,) = [s for s in SAMPLES if s.task == "lamp-1"]
    item = {"id": "1", **sample.item, "citation": "Hives"}
    files = {"user_others.json": [make_person("u", [item], [{"id": "1", "input": sample.input}])]}
    imported = import_histories(write_files(tmp_path, files))
    assert imported.histories[0].items[0].fields["citation"] == "Hives"
    assert imported.report.notes == ("queries without an answer (prediction only): 1",)


def test_oppu_needs_task_if_first_person_has_no_query(tmp_path: Path) -> None:
    # The first person has no query to detect the task from.
    quiet, asking = make_person("a", [make_paper("1")], []), make_person("b", [], [make_query("1")])
    write_files(tmp_path, {"user_others.json": [quiet, asking]})
    with pytest.raises(DataError, match="user a: no query, so the task is unknown"):
        import_histories(tmp_path)
    imported = import_histories(tmp_path, options=ImportOptions(task="lamp-5"))
    assert [(len(h.items), len(h.queries)) for h in imported.histories] == [(1, 0), (0, 1)]


GOOD = make_person("u", [make_paper("a")], [make_query("1")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", ":1: expected a JSON array"),
        ("[3 4]", ":1: expected ',' or ']'"),
        ('[{"a": \n', ":2: not JSON"),
        ([], "no queries, so the task is unknown"),
        ([{}], "line 2, user_id: expected text, found nothing"),
        ([{**GOOD, "user_id": " "}], "line 2: the user_id is empty"),
        ([{**GOOD, "profile": None}], "line 2, user u, profile: expected an array"),
        ([{**GOOD, "query": 7}], "line 2, user u, query: expected an array, found 7"),
        ([{**GOOD, "query": [{"id": "1"}]}], r"query\[0\].input"),
        ([{**GOOD, "query": [{"id": "1", "input": "Hm"}]}], "no LaMP task has questions like"),
        (
            [{**GOOD, "query": [make_query("1", gold={})]}],
            r"query\[0\].gold: expected text",
        ),
        (
            [{**GOOD, "profile": [make_paper("a", date="?")]}],
            r"profile\[0\].date: '\?' is not a date",
        ),
    ],
)
@pytest.mark.parametrize("name", ["user_others.json", "user_base_LLM.json"])
def test_releases_name_place_of_error(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    write_files(tmp_path, {name: content})
    with pytest.raises(DataError, match=message) as caught:
        import_histories(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["oppu", "perpcs"])
def test_releases_raise_for_empty_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingError, match=r"none of user_.* found"):
        import_histories(tmp_path, format=name)
