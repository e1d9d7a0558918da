"""Printing of an evaluation report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect.cli import report_tables
from idiolect.evaluation.reports.report import build_report
from support import fake_results


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    comparisons = [
        fake_results.make_rating_comparison(
            methods=("base", "person-mean", "oppu", "oppu (gated)")
        ),
        fake_results.make_reply_comparison(people=3),
    ]
    return build_report(comparisons, hardware={}, versions={}, seed=0)


def test_print_report_prints_table_and_conclusions_per_task(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report_tables.print_report(report, Path("out"), as_json=False)
    text = capsys.readouterr().out
    lines = [line.rstrip() for line in text.splitlines()]
    assert "\x1b" not in text
    assert [line for line in lines if "lower is better" in line]
    for method in ("base model", "person's own mean", "OPPU", "OPPU, gated"):
        (row,) = [line for line in lines if line.strip().startswith(f"{method}  ")][:1]
        assert any(character.isdigit() for character in row)
    for task in report["tasks"]:
        for verdict in task["verdicts"]:
            assert verdict["text"] in lines
    assert "made-up films: 12 people, 96 questions. A made-up base, not task-adapted." in lines
    assert lines[-2].endswith("report.html") and lines[-1].endswith("report.json")


def test_print_report_as_json_prints_report(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report_tables.print_report(report, Path("out"), as_json=True)
    assert json.loads(capsys.readouterr().out) == report
