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


def report_of(*comparisons: Comparison, seed: int = 0, samples: int = 6) -> dict[str, Any]:
    versions = {"python": "3.11"}
    return build_report(
        comparisons, hardware=HARDWARE, versions=versions, seed=seed, samples=samples
    )


def fits(value: dict[str, Any], shape: dict[str, Any]) -> None:
    """The same keys as documented, each of the documented kind."""
    assert value.keys() == shape.keys()
    for key, kind in shape.items():
        assert isinstance(value[key], kind), key


def check(report: dict[str, Any]) -> None:
    fits(report, REPORT)
    for task in report["tasks"]:
        fits(task, TASK)
        for method in task["methods"]:
            fits(method, METHOD)
            for score in filter(None, method["scores"].values()):
                fits(score, SCORE)
                assert len(score["per_person"]) == task["people"]
        for kind, values in ((TEST, "paired"), (VERDICT, "verdicts"), (SAMPLE, "samples")):
            for value in task[values]:
                fits(value, kind)


def test_the_report_has_the_documented_shape() -> None:
    report = report_of(make_rating_comparison(), make_reply_comparison(people=4))
    check(report)
    check(anonymize_report(report))
    assert (report["format"], report["version"]) == ("idiolect-report", 1)
    names = (REPORT, TASK, METHOD, SCORE, TEST, VERDICT, SAMPLE)
    page = (Path(__file__).parents[3] / "docs/report-schema.md").read_text(encoding="utf-8")
    missing = [key for shape in names for key in shape if f"`{key}`" not in page]
    assert not missing, "not described in docs/report-schema.md"


def test_the_same_results_give_the_same_report_and_files(tmp_path: Path) -> None:
    comparison = make_rating_comparison(people=5, methods=FEW)
    first, second = report_of(comparison), report_of(comparison)
    assert first == second
    backwards = replace(
        comparison,
        runs=tuple(replace(run, answers=run.answers[::-1]) for run in comparison.runs),
    )
    assert report_of(backwards) == first
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


def test_scores_are_means_over_people_and_pooled_over_queries() -> None:
    comparison = make_rating_comparison(people=2, queries=1, methods=("base", "oppu"))
    golds, texts = ["5", "5"], ["5", "2"]
    uneven = []
    for run in comparison.runs:
        answers = [
            replace(a, gold=g, text=t) for a, g, t in zip(run.answers, golds, texts, strict=True)
        ]
        extra = replace(answers[0], query="more")
        uneven.append(replace(run, answers=(*answers, extra)))
    task = report_of(replace(comparison, runs=tuple(uneven)))["tasks"][0]
    score = task["methods"][0]["scores"]["mae"]
    assert score["score"] == pytest.approx(1.5)
    assert score["pooled"] == pytest.approx(1.0)
    assert task["queries_per_person"] == {"min": 1, "median": 1.5, "max": 2}


def test_unreadable_answers_are_counted() -> None:
    comparison = make_rating_comparison(people=3, queries=2, methods=("base", "oppu"))
    base, oppu = comparison.runs
    worded = tuple(replace(a, text="quite good") for a in oppu.answers)
    report = report_of(replace(comparison, runs=(base, replace(oppu, answers=worded))))
    scores = {m["method"]: m["scores"]["mae"] for m in report["tasks"][0]["methods"]}
    assert scores["oppu"]["unreadable"] == 6
    assert all(value >= 2 for value in scores["oppu"]["per_person"].values())


def test_a_method_without_likelihoods_has_no_perplexity_and_no_test_on_it() -> None:
    comparison = make_reply_comparison(people=3)
    base, *rest, oppu = comparison.runs
    blind = replace(oppu, answers=tuple(replace(a, gold_nll=None) for a in oppu.answers))
    task = report_of(replace(comparison, runs=(base, *rest, blind)))["tasks"][0]
    assert task["methods"][-1]["scores"]["perplexity"] is None
    tested = {(t["metric"], t["method"]) for t in task["paired"]}
    assert ("perplexity", "oppu+rag") not in tested
    assert ("rouge_1", "oppu+rag") in tested


def test_who_is_paired_with_whom() -> None:
    task = report_of(make_rating_comparison(people=3, queries=2))["tasks"][0]
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


def test_the_headline_is_chosen_by_name() -> None:
    assert choose_headline_method(["base", "oppu+rag", "oppu", "rag"], "base") == "oppu"
    assert choose_headline_method(["base", "rag", "oppu (gated)"], "base") == "oppu (gated)"
    assert choose_headline_method(["base", "rag"], "base") == "rag"
    assert choose_headline_method(["base"], "base") is None


def test_one_method_alone_is_a_report_without_tests() -> None:
    task = report_of(make_rating_comparison(people=2, queries=2, methods=("base",)))["tasks"][0]
    assert task["paired"] == task["verdicts"] == []


def test_samples_are_of_different_people_and_hold_every_method() -> None:
    report = report_of(make_rating_comparison(people=8, methods=FEW))
    samples = report["tasks"][0]["samples"]
    assert len({s["person"] for s in samples}) == len(samples) == 6
    assert [a["method"] for a in samples[0]["answers"]] == list(FEW)
    assert (
        len(
            report_of(make_rating_comparison(people=2, queries=2, methods=FEW))["tasks"][0][
                "samples"
            ]
        )
        == 4
    )
    other = report_of(make_rating_comparison(people=8, methods=FEW), seed=1)["tasks"][0]["samples"]
    assert [s["person"] for s in other] != [s["person"] for s in samples]


def test_a_published_report_names_nobody_and_quotes_nobody() -> None:
    report = report_of(
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
    assert report["tasks"][0]["samples"], "the original is left as it was"


def test_one_task_twice_keeps_its_files_apart() -> None:
    report = report_of(
        make_rating_comparison(people=2, methods=FEW), make_rating_comparison(people=3, methods=FEW)
    )
    assert [task["key"] for task in report["tasks"]] == ["rating", "rating-2"]


def test_table_and_verdicts_for_a_terminal() -> None:
    report = report_of(
        make_rating_comparison(people=12, methods=FEW), make_reply_comparison(people=4)
    )
    rows = build_rows(report)
    assert [row.method for row in rows[:3]] == ["base model", "person's own mean", "OPPU"]
    assert rows[0].gain == rows[0].p == rows[0].people == ""
    assert rows[2].personal and rows[2].people.count("/") == 2 and rows[2].gain[0] in "+−0"
    assert rows[0].task == "film rating, MAE, lower is better"
    assert len(list_verdicts(report)) == 3
    assert list_verdicts(report)[-1].startswith("Chat reply: 4 people are too few")


def broken(comparison: Comparison, change: str) -> Comparison:
    base, *rest = comparison.runs
    first, *others = base.answers
    runs: dict[str, tuple[MethodRun, ...]] = {
        "fewer": (base, *(replace(run, answers=run.answers[1:]) for run in rest)),
        "gold": (replace(base, answers=(replace(first, gold="1.5"), *others)), *rest),
        "twice": (replace(base, answers=(first, *base.answers)), *rest),
        "same name": (base, *(replace(run, method="base") for run in rest)),
        "no reference": tuple(rest),
        "nobody": tuple(replace(run, answers=()) for run in comparison.runs),
    }
    return replace(comparison, runs=runs[change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fewer", "person-mean and base do not agree on query 'q0' of 'person-000'"),
        ("gold", "do not agree on query 'q0' of 'person-000'"),
        ("twice", "base answered a query twice"),
        ("same name", "a method is there twice: base, base"),
        ("no reference", "the reference method 'base' was not run; there are: person-mean, oppu"),
        ("nobody", "no queries were answered"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        report_of(broken(make_rating_comparison(people=3, queries=2, methods=FEW), change))


def test_nothing_and_what_json_cannot_hold_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing to report"):
        report_of()
    with pytest.raises(UsageError, match="JSON cannot"):
        report_of(
            replace(make_rating_comparison(people=2, methods=FEW), settings={"rate": float("nan")})
        )
