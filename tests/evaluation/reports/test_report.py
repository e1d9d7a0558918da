"""The content of ``report.json``: documented fields, scores, tests, samples, anonymization."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import UsageError
from idiolect.evaluation.reports.report import (
    anonymize_report,
    build_report,
    choose_headline_method,
    write_report,
)
from idiolect.evaluation.reports.table import build_rows, list_verdicts
from idiolect.evaluation.results import Comparison, MethodRun
from support.fake_results import make_rating_comparison, make_reply_comparison

HARDWARE = {"cpu": "made-up", "cores": 2, "memory_gib": 8.0, "system": "none", "accelerator": None}
FEW = ("base", "person-mean", "oppu")

NUMBER, OPTIONAL = (int, float), (int, float, type(None))
# The documented fields and their types.
SCORE = {"score": NUMBER, "interval": list, "pooled": NUMBER, "unreadable": int, "per_person": dict}
METHOD = {
    "method": str,
    "scores": dict,
    "train_seconds": NUMBER,
    "predict_seconds": NUMBER,
    "train_tokens": int,
    "bytes_per_person": int,
    "served_by_base": list,
}
TEST = {
    "metric": str,
    "method": str,
    "against": str,
    "people": int,
    "gain": NUMBER,
    "interval": list,
    "p": NUMBER,
    "p_holm": NUMBER,
    "dz": OPTIONAL,
    "rank_biserial": NUMBER,
    "wins": int,
    "ties": int,
    "losses": int,
}
TASK = {
    "key": str,
    "task": str,
    "title": str,
    "dataset": str,
    "base": str,
    "reference": str,
    "people": int,
    "queries": int,
    "queries_per_person": dict,
    "metric": str,
    "direction": str,
    "metrics": list,
    "choices": list,
    "seeds": list,
    "settings": dict,
    "methods": list,
    "paired": list,
    "verdicts": list,
    "curves": list,
    "samples": list,
}
VERDICT = {"method": str, "against": str, "metric": str, "conclusion": str, "text": str}
SAMPLE = {"person": str, "query": str, "prompt": str, "gold": str, "answers": list}
REPORT = {
    "format": str,
    "version": int,
    "seed": int,
    "hardware": dict,
    "versions": dict,
    "tasks": list,
}


def build_fake_report(*comparisons: Comparison, seed: int = 0, samples: int = 6) -> dict[str, Any]:
    versions = {"python": "3.11"}
    return build_report(
        comparisons, hardware=HARDWARE, versions=versions, seed=seed, samples=samples
    )


def assert_shape(value: dict[str, Any], shape: dict[str, Any]) -> None:
    """Check that the value has exactly the documented keys, with the documented types."""
    assert value.keys() == shape.keys()
    for key, kind in shape.items():
        assert isinstance(value[key], kind), key


def assert_documented(report: dict[str, Any]) -> None:
    assert_shape(report, REPORT)
    for task in report["tasks"]:
        assert_shape(task, TASK)
        for method in task["methods"]:
            assert_shape(method, METHOD)
            for score in filter(None, method["scores"].values()):
                assert_shape(score, SCORE)
                assert len(score["per_person"]) == task["people"]
        for kind, values in ((TEST, "paired"), (VERDICT, "verdicts"), (SAMPLE, "samples")):
            for value in task[values]:
                assert_shape(value, kind)


def test_build_report_has_documented_fields() -> None:
    report = build_fake_report(make_rating_comparison(), make_reply_comparison(people=4))
    assert_documented(report)
    assert_documented(anonymize_report(report))
    assert (report["format"], report["version"]) == ("idiolect-report", 1)
    names = (REPORT, TASK, METHOD, SCORE, TEST, VERDICT, SAMPLE)
    page = (Path(__file__).parents[3] / "docs/report-schema.md").read_text(encoding="utf-8")
    missing = [key for shape in names for key in shape if f"`{key}`" not in page]
    assert not missing, "not described in docs/report-schema.md"


def test_write_report_is_deterministic(tmp_path: Path) -> None:
    comparison = make_rating_comparison(people=5, methods=FEW)
    first, second = build_fake_report(comparison), build_fake_report(comparison)
    assert first == second
    # The order of the answers does not matter.
    backwards = replace(
        comparison,
        runs=tuple(replace(run, answers=run.answers[::-1]) for run in comparison.runs),
    )
    assert build_fake_report(backwards) == first
    write_report(tmp_path / "a", first)
    write_report(tmp_path / "b", second)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == [
        "rating-methods.png",
        "rating-people.png",
        "rating-training.png",
        "report.html",
        "report.json",
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a/report.json").read_text(encoding="utf-8")) == first


def test_build_report_averages_over_people_and_pools_over_queries() -> None:
    comparison = make_rating_comparison(people=2, queries=1, methods=("base", "oppu"))
    # The first person has errors 0 and 0, the second one an error of 3.
    golds, texts = ["5", "5"], ["5", "2"]
    uneven = []
    for run in comparison.runs:
        answers = [
            replace(a, gold=g, text=t) for a, g, t in zip(run.answers, golds, texts, strict=True)
        ]
        extra = replace(answers[0], query="more")
        uneven.append(replace(run, answers=(*answers, extra)))
    task = build_fake_report(replace(comparison, runs=tuple(uneven)))["tasks"][0]
    score = task["methods"][0]["scores"]["mae"]
    assert score["score"] == pytest.approx(1.5)
    assert score["pooled"] == pytest.approx(1.0)
    assert task["queries_per_person"] == {"min": 1, "median": 1.5, "max": 2}


def test_build_report_counts_unreadable_answers() -> None:
    comparison = make_rating_comparison(people=3, queries=2, methods=("base", "oppu"))
    base, oppu = comparison.runs
    worded = tuple(replace(a, text="quite good") for a in oppu.answers)
    report = build_fake_report(replace(comparison, runs=(base, replace(oppu, answers=worded))))
    scores = {m["method"]: m["scores"]["mae"] for m in report["tasks"][0]["methods"]}
    assert scores["oppu"]["unreadable"] == 6
    assert all(value >= 2 for value in scores["oppu"]["per_person"].values())


def test_build_report_without_likelihoods_has_no_perplexity() -> None:
    comparison = make_reply_comparison(people=3)
    base, *rest, oppu = comparison.runs
    blind = replace(oppu, answers=tuple(replace(a, gold_nll=None) for a in oppu.answers))
    task = build_fake_report(replace(comparison, runs=(base, *rest, blind)))["tasks"][0]
    assert task["methods"][-1]["scores"]["perplexity"] is None
    tested = {(t["metric"], t["method"]) for t in task["paired"]}
    assert ("perplexity", "oppu+rag") not in tested
    assert ("rouge_1", "oppu+rag") in tested


def test_run_paired_tests_pairs_methods_with_reference_and_rivals() -> None:
    task = build_fake_report(make_rating_comparison(people=3, queries=2))["tasks"][0]
    pairs = [(t["method"], t["against"]) for t in task["paired"] if t["metric"] == "mae"]
    assert len(set(pairs)) == len(pairs)
    assert {m["method"] for m in task["methods"]} - {"base"} == {a for a, b in pairs if b == "base"}
    assert {b for a, b in pairs if a == "oppu+rag"} == {
        "base",
        "person-mean",
        "person-median",
        "rag",
    }
    assert ("oppu (gated)", "oppu") in pairs
    assert not any(b == "rag" for a, b in pairs if a == "oppu")


def test_choose_headline_method_decides_by_name() -> None:
    assert choose_headline_method(["base", "oppu+rag", "oppu", "rag"], "base") == "oppu"
    assert choose_headline_method(["base", "rag", "oppu (gated)"], "base") == "oppu (gated)"
    assert choose_headline_method(["base", "rag"], "base") == "rag"
    assert choose_headline_method(["base"], "base") is None


def test_build_report_of_one_method_has_no_tests() -> None:
    task = build_fake_report(make_rating_comparison(people=2, queries=2, methods=("base",)))[
        "tasks"
    ][0]
    assert task["paired"] == task["verdicts"] == []


def test_build_report_samples_different_people_with_all_methods() -> None:
    report = build_fake_report(make_rating_comparison(people=8, methods=FEW))
    samples = report["tasks"][0]["samples"]
    assert len({s["person"] for s in samples}) == len(samples) == 6
    assert [a["method"] for a in samples[0]["answers"]] == list(FEW)
    assert (
        len(
            build_fake_report(make_rating_comparison(people=2, queries=2, methods=FEW))["tasks"][0][
                "samples"
            ]
        )
        == 4
    )
    other = build_fake_report(make_rating_comparison(people=8, methods=FEW), seed=1)["tasks"][0][
        "samples"
    ]
    assert [s["person"] for s in other] != [s["person"] for s in samples]


def test_anonymize_report_removes_ids_and_texts() -> None:
    report = build_fake_report(
        make_rating_comparison(people=11, methods=(*FEW, "oppu (gated)")),
        make_reply_comparison(people=3),
    )
    text = json.dumps(anonymize_report(report))
    assert "person-0" not in text and "chatter" not in text and "film number" not in text
    before, after = (
        r["tasks"][0]["methods"][0]["scores"]["mae"] for r in (report, anonymize_report(report))
    )
    assert [*before["per_person"].values()] == [*after["per_person"].values()]
    assert "01" in after["per_person"]
    gated = anonymize_report(report)["tasks"][0]["methods"][-1]
    assert gated["served_by_base"] == ["02"]
    assert report["tasks"][0]["samples"], "the original must not change"


def test_build_report_gives_repeated_tasks_unique_keys() -> None:
    report = build_fake_report(
        make_rating_comparison(people=2, methods=FEW), make_rating_comparison(people=3, methods=FEW)
    )
    assert [task["key"] for task in report["tasks"]] == ["rating", "rating-2"]


def test_build_rows_and_list_verdicts_for_a_terminal() -> None:
    report = build_fake_report(
        make_rating_comparison(people=12, methods=FEW), make_reply_comparison(people=4)
    )
    rows = build_rows(report)
    assert [row.method for row in rows[:3]] == ["base model", "person's own mean", "OPPU"]
    assert rows[0].gain == rows[0].p == rows[0].people == ""
    assert rows[2].personal and rows[2].people.count("/") == 2 and rows[2].gain[0] in "+−0"
    assert rows[0].task == "film rating, MAE, lower is better"
    assert len(list_verdicts(report)) == 3
    assert list_verdicts(report)[-1].startswith("Chat reply: 4 people are too few")


def break_comparison(comparison: Comparison, change: str) -> Comparison:
    base, *rest = comparison.runs
    first, *others = base.answers
    runs: dict[str, tuple[MethodRun, ...]] = {
        "fewer": (base, *(replace(run, answers=run.answers[1:]) for run in rest)),
        "gold": (replace(base, answers=(replace(first, gold="1.5"), *others)), *rest),
        "twice": (replace(base, answers=(first, *base.answers)), *rest),
        "same name": (base, *(replace(run, method="base") for run in rest)),
        "no reference": tuple(rest),
        "no answers": tuple(replace(run, answers=()) for run in comparison.runs),
    }
    return replace(comparison, runs=runs[change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fewer", "person-mean and base do not agree on query 'q0' of 'person-000'"),
        ("gold", "do not agree on query 'q0' of 'person-000'"),
        ("twice", "base answered a query twice"),
        ("same name", "a method occurs twice: base, base"),
        ("no reference", "the reference method 'base' was not run; there are: person-mean, oppu"),
        ("no answers", "no queries were answered"),
    ],
)
def test_build_report_rejects_inconsistent_runs(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_fake_report(
            break_comparison(make_rating_comparison(people=3, queries=2, methods=FEW), change)
        )


def test_build_report_rejects_no_tasks_and_invalid_json() -> None:
    with pytest.raises(UsageError, match="nothing to report"):
        build_fake_report()
    with pytest.raises(UsageError, match="JSON cannot represent"):
        build_fake_report(
            replace(make_rating_comparison(people=2, methods=FEW), settings={"rate": float("nan")})
        )
