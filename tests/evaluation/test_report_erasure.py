"""Erasure of reports, cached answers and cached bases that include a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idiolect.evaluation.erasure import Answers, CachedBases, Reports, read_report_tasks
from idiolect.evaluation.reports.report import build_report
from idiolect.privacy.erasure import ErasureRequest
from idiolect.privacy.search.patterns import SearchPatterns, split_into_patterns
from idiolect.storage.files import write_json
from idiolect.storage.manifest import Manifest
from support.fake_results import make_rating_comparison


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The output folder of ``evaluate``, with a report and two files of cached answers."""
    report = build_report([make_rating_comparison(people=3)], hardware={}, versions={}, seed=0)
    (tmp_path / "report.json").write_text(json.dumps(report))
    for name in ("report.html", "rating-people.png", "other.png"):
        (tmp_path / name).write_text("x")
    answers = tmp_path / "work" / "answers"
    for name, person in (("a", "person-001"), ("b", "person-999")):
        content = {"seconds": 1.0, "answers": [{"person": person, "prompt": "x"}]}
        write_json(answers / f"{name}.json", content)
    return tmp_path


def test_reports_erase_deletes_report_page_and_pictures(folder: Path) -> None:
    assert read_report_tasks(folder / "report.json") == ["rating"]
    # A report without the person stays.
    stranger = ErasureRequest(person="person-777", task="rating")
    assert Reports().find(folder, stranger) == "" and Reports().erase(folder, stranger) == []
    leaving = ErasureRequest(person="person-001", task="rating")
    (effect,) = Reports().erase(folder, leaving)
    assert effect.outcome == "deleted"
    assert sorted(p.name for p in folder.iterdir()) == ["other.png", "work"]


def test_reports_find_matches_texts_and_affected_people(folder: Path) -> None:
    sample = json.loads((folder / "report.json").read_text())["tasks"][0]["samples"][0]
    text = SearchPatterns(split_into_patterns([sample["prompt"]]))
    assert text and Reports().find(
        folder, ErasureRequest(person="zoe", task="rating", patterns=text)
    )
    changed = ErasureRequest(person="zoe", task="rating", affected_people=frozenset(["person-002"]))
    assert Reports().find(folder, changed)


def test_answers_erase_deletes_only_files_with_the_person(folder: Path) -> None:
    answers = folder / "work" / "answers"
    (effect,) = Answers().erase(answers, ErasureRequest(person="person-001", task="rating"))
    assert effect.count == 1 and [p.name for p in answers.iterdir()] == ["b.json"]


def test_reports_find_ignores_numeric_id_in_another_task(folder: Path) -> None:
    path = folder / "report.json"
    path.write_text(path.read_text().replace("person-001", "7"))
    assert Reports().find(folder, ErasureRequest(person="7", task="rating"))
    assert not Reports().find(folder, ErasureRequest(person="7", task="reply"))


def test_cached_bases_erase_deletes_the_whole_base(tmp_path: Path) -> None:
    folder = tmp_path / f"base-{'0a' * 8}"
    (folder / "task_adapter").mkdir(parents=True)
    for name in ("model.safetensors", "task_adapter/x.safetensors"):
        (folder / name).write_bytes(b"")
    Manifest.from_folder(folder, kind="base", contributors=("ann",)).save(folder)
    assert CachedBases().erase(folder, ErasureRequest(person="bob")) == []
    assert CachedBases().erase(folder, ErasureRequest(person="ann"))
    assert not folder.exists()
