"""The example of an importer reads its format, counts what it skips, and refuses broken input."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.add_an_importer import EXAMPLE, IMPORTER
from idiolect.errors import DataError
from idiolect.importers.report import ImportOptions


def write_chats(folder: Path, text: str) -> Path:
    path = folder / "chats.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_importer_makes_items_of_answers_and_counts_skipped_rows(tmp_path: Path) -> None:
    path = write_chats(tmp_path, EXAMPLE)
    assert IMPORTER.detect(path)
    imported = IMPORTER.load(path, ImportOptions())
    assert imported.report.format_lines() == [
        "chats.csv: read 3 messages, skipped 1, because",
        "  1: an empty message (first: line 5)",
    ]
    dataset = imported.write_to_folder(tmp_path / "data")
    ann, _ = dataset.iter_histories()
    assert [item.fields["context"] for item in ann.items] == [
        "How was the film?",
        "Tennis on Sunday?",
    ]


def test_importer_names_file_and_line_of_a_broken_time(tmp_path: Path) -> None:
    path = write_chats(tmp_path, EXAMPLE.replace("2026-03-02 18:30", "yesterday"))
    with pytest.raises(DataError, match=r"chats\.csv:4: .*yesterday"):
        IMPORTER.load(path, ImportOptions())


def test_importer_detects_only_its_own_columns(tmp_path: Path) -> None:
    assert not IMPORTER.detect(write_chats(tmp_path, "time,text\n"))
    assert not IMPORTER.detect(tmp_path / "missing.csv")
