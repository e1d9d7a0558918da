"""An evaluation's report in the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect.cli import report_tables
from idiolect.evaluation.reports.report import build_report
from support import fake_results


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    comparisons = [
        fake_results.make_rating_comparison(
            methods=("base", "person-mean", "oppu", "oppu (gated)")
        ),
        fake_results.make_reply_comparison(people=3),
    ]
    return build_report(comparisons, hardware={}, versions={}, seed=0)


def test_a_table_a_task_and_what_may_be_concluded(
    found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report_tables.print_report(found, Path("out"), as_json=False)
    text = capsys.readouterr().out
    lines = [line.rstrip() for line in text.splitlines()]
    assert "\x1b" not in text
    assert [line for line in lines if "lower is better" in line]
    for method in ("base model", "person's own mean", "OPPU", "OPPU, gated"):
        (row,) = [line for line in lines if line.strip().startswith(f"{method}  ")][:1]
        assert any(character.isdigit() for character in row)
    for task in found["tasks"]:
        for verdict in task["verdicts"]:
            assert verdict["text"] in lines
    assert (
        "made-up films: 12 people, 96 questions. A made-up base, task-adapted on nobody." in lines
    )
    assert lines[-2].endswith("report.html") and lines[-1].endswith("report.json")


def test_json_is_the_report_itself(
    found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report_tables.print_report(found, Path("out"), as_json=True)
    assert json.loads(capsys.readouterr().out) == found
