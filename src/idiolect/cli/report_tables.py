"""Prints an evaluation's report: a table a task, then what may be concluded, then where it lies."""

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
    """The report as JSON, or as tables with its conclusions in words."""
    if as_json:
        print_json(report)
        return
    from idiolect.evaluation.reports import table

    for task in report["tasks"]:
        rows = table.build_rows({"tasks": [task]})
        print_table(
            table.HEADINGS,
            [(r.method, r.score, r.interval, r.gain, r.p, r.people) for r in rows],
            title=rows[0].task if rows else task["title"],
            numbers=NUMERIC_COLUMNS,
            styles=[CONCLUSION_STYLES.get(row.conclusion, "") for row in rows],
        )
        who = format_count(task["people"], "person", "people")
        print_text(
            f"{task['dataset']}: {who}, {format_count(task['queries'], 'question')}. {task['base']}"
        )
        for verdict in task["verdicts"]:
            print_text(verdict["text"])
    click.echo(f"\nTo look at: {out / 'report.html'}\nTo compute with: {out / 'report.json'}")
