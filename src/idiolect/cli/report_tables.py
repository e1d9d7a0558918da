"""Prints an evaluation report: a table and conclusions for each task, then the files' paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from idiolect.cli.formatting import format_count
from idiolect.cli.output import print_json, print_table, print_text

NUMERIC_COLUMNS = (1, 2, 3, 4, 5)
CONCLUSION_STYLES = {"ahead": "green", "behind": "red"}


def print_report(report: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Print the report as JSON, or as tables and sentences."""
    if as_json:
        print_json(report)
        return
    from idiolect.evaluation.reports import table

    # Green rows are better than the base model, red rows are worse; others are not separated.

    for task in report["tasks"]:
        rows = table.build_rows({"tasks": [task]})
        print_table(
            table.HEADINGS,
            [(r.method, r.score, r.interval, r.gain, r.p, r.people) for r in rows],
            title=rows[0].task if rows else task["title"],
            numbers=NUMERIC_COLUMNS,
            styles=[CONCLUSION_STYLES.get(row.conclusion, "") for row in rows],
        )
        people = format_count(task["people"], "person", "people")
        questions = format_count(task["queries"], "question")
        print_text(f"{task['dataset']}: {people}, {questions}. {task['base']}")
        for verdict in task["verdicts"]:
            print_text(verdict["text"])
    print_report_paths(out)


def print_report_paths(out: Path) -> None:
    """Print where the page and the data of a report are."""
    click.echo(f"\nReport: {out / 'report.html'}\nData: {out / 'report.json'}")
