"""The results page in ``docs``, generated from the results of benchmarks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from idiolect.evaluation.reports.report import anonymize_report, build_report
from support.fake_results import make_rating_comparison, make_reply_comparison

TARGETS = [
    {"name": "ahead | of base", "target": "p < 0.05", "reached": 0.0123, "met": True},
    {"name": "fast", "target": 360, "reached": 400, "met": False},
]


@pytest.fixture(scope="module")
def render() -> ModuleType:
    path = Path(__file__).parents[3] / "docs/build/render.py"
    spec = importlib.util.spec_from_file_location("benchmarks_render", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    comparisons = [
        make_rating_comparison(12, 4, ("base", "person-mean", "oppu")),
        make_reply_comparison(4, 2),
    ]
    return anonymize_report(
        build_report(comparisons, hardware={"cpu": "made-up"}, versions={"python": "3"}, seed=7)
    )


def write_result(docs: Path, name: str, **more: Any) -> None:
    """Write a benchmark's result to the folder."""
    (docs / "results").mkdir(parents=True, exist_ok=True)
    result = {"name": name, "what": "How good.", "command": f"run {name}", "targets": [], **more}
    (docs / "results" / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")


def test_render_writes_tables_verdicts_and_environment(
    render: ModuleType, report: dict[str, Any], tmp_path: Path
) -> None:
    write_result(tmp_path, "quality", targets=TARGETS, report=report)
    table = {"title": "Rates", "columns": ["size", "rate"], "rows": [[8, 12.5], ["<b>", None]]}
    write_result(
        tmp_path, "speed", tables=[table], environment={"cpu": {"model": "x"}}, seeds=[1, 2]
    )
    assert render.main(["--docs", str(tmp_path)]) == 0
    # Targets, tables, verdicts, environment and seeds, with Markdown escaped.
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    for line in (
        "## Quality",
        "### Film rating",
        "- 4 people are too few to conclude anything",
        "| ahead \\| of base | p &lt; 0.05 | 0.012 | met |",
        "| fast | 360 | 400 | **missed** |",
        "| size | rate |\n| --- | --- |\n| 8 | 12.50 |\n| &lt;b> | – |",
        "Measured on: cpu made-up, python 3.",
        "Seeds: 7.",
        "Measured on: model x.",
        "Seeds: 1, 2.",
    ):
        assert line in text, line
    for task in report["tasks"]:
        for verdict in task["verdicts"]:
            assert verdict["text"].replace("<", "&lt;") in text
    # The rows of OPPU have the same number of cells, per kind of table.
    cells = {line.count("|") for line in text.splitlines() if line.startswith("| OPPU | 0")}
    assert cells and len(cells) <= 2


def test_render_check_compares_without_writing(
    render: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(tmp_path, "speed")
    docs = ["--docs", str(tmp_path)]
    assert render.main([*docs, "--check"]) == 1
    assert not (tmp_path / "results.md").exists()
    assert render.main(docs) == 0
    assert render.main([*docs, "--check"]) == 0
    write_result(tmp_path, "speed", targets=TARGETS)
    assert render.main([*docs, "--check"]) == 1
    assert "run `make docs`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected an object"),
        ('{"name": "x"}', "'what' is missing or not a str"),
        ('{"name": "y", "what": "", "command": "", "targets": []}', "its name is 'y', not 'x'"),
        (
            '{"name": "x", "what": "", "command": "", "targets": [], "report": {"version": 9}}',
            "its report is not idiolect-report 1",
        ),
        (
            '{"name": "x", "what": "", "command": "", "targets": [{"name": "a"}]}',
            "a target lacks one of met, name, reached, target",
        ),
    ],
)
def test_render_names_broken_result_and_writes_nothing(
    render: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    message: str,
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/x.json").write_text(content, encoding="utf-8")
    assert render.main(["--docs", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert message in errors and "x.json" in errors
    assert not (tmp_path / "results.md").exists()


def test_committed_results_page_is_up_to_date(render: ModuleType) -> None:
    assert render.main(["--check"]) == 0
