"""Tests of the import of plain JSONL, and of the round trip through a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import DataError, UsageError
from idiolect.history.jsonl import write_jsonl
from idiolect.importers.registry import import_histories
from idiolect.importers.report import ImportedHistories, ImportOptions

LINES = """
{"person": "ann", "fields": {"text": "one", "title": "1"}, "time": 20}
{"person": "ann", "fields": {"text": "zero", "title": "0"}, "time": 10, "split": "test"}
{"person": "ann", "kind": "query", "fields": {"text": "what"}}
{"person": "bob", "id": "x", "fields": {"text": "hm", "title": "?", "extra": "e"}, "voices": ["a"]}
{"person": "bob", "id": "y", "fields": {"text": "no title"}}
{"person": "cy", "fields": {"text": " ", "title": "t"}}
{"person": "cy", "kind": "query", "fields": {"title": "t"}}
"""


def import_jsonl(path: Path, task: str = "lamp-4") -> ImportedHistories:
    return import_histories(path, options=ImportOptions(task=task))


def write_jsonl_file(folder: Path, text: str = LINES) -> Path:
    path = folder / "in.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_plain_jsonl_imports_items_and_queries(tmp_path: Path) -> None:
    imported = import_jsonl(write_jsonl_file(tmp_path))
    assert (imported.importer, imported.task) == ("jsonl", "lamp-4")
    ann, bob, cy = imported.histories
    assert [(i.id, i.position, i.time) for i in ann.items] == [("2", 1, 10.0), ("1", 0, 20.0)]
    assert [(q.id, q.position, q.time) for q in ann.queries] == [("3", 2, None)]
    assert bob.items[0].fields == {"text": "hm", "title": "?", "extra": "e"}
    assert bob.items[0].voices == ("a",)
    assert (cy.items, cy.queries) == ((), ())
    assert imported.splits == {"ann": "test"}
    assert imported.report.format_lines() == [
        "in.jsonl: read 4 items and queries, skipped 3, because",
        "  1: item without 'title' (first: line 6)",
        "  1: item without 'text' (first: line 7)",
        "  1: query without 'text' (first: line 8)",
    ]


def test_plain_jsonl_round_trips_dataset(tmp_path: Path) -> None:
    dataset = import_jsonl(write_jsonl_file(tmp_path)).write_to_folder(tmp_path / "one")
    out = tmp_path / "out.jsonl"
    write_jsonl(out, dataset, splits={p: dataset.get_split(p) for p in dataset.people})
    again = import_jsonl(out)
    content = [
        (h.person, [(i.id, dict(i.fields), i.time, i.voices) for i in (*h.items, *h.queries)])
        for h in dataset
        if h.items or h.queries
    ]
    assert content == [
        (h.person, [(i.id, dict(i.fields), i.time, i.voices) for i in (*h.items, *h.queries)])
        for h in again.histories
    ]
    assert again.splits == {"ann": "test"}


def test_plain_jsonl_requires_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give it with --task, one of lamp-1, .*reply"):
        import_jsonl(write_jsonl_file(tmp_path), task="")
    with pytest.raises(UsageError, match="unknown task 'poetry'"):
        import_jsonl(write_jsonl_file(tmp_path), task="poetry")


def test_plain_jsonl_names_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in\.jsonl:3: 'fields' must be an object"):
        import_jsonl(
            write_jsonl_file(
                tmp_path, LINES[: LINES.index("}, ") + 1] + '}\n{"person": "p", "fields": []}'
            )
        )
    one = '{"person": "p", "fields": {"text": "t", "title": "u"}, "split": "%s"}\n'
    with pytest.raises(DataError, match=r"in\.jsonl:2: 'p' is in split 'b' here, but in 'a' above"):
        import_jsonl(write_jsonl_file(tmp_path, one % "a" + one % "b"))
    empty = write_jsonl_file(tmp_path, "\n")
    with pytest.raises(DataError, match=r"in\.jsonl: the file is empty"):
        import_histories(empty, format="jsonl", options=ImportOptions(task="reply"))
