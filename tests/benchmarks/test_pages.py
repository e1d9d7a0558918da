"""The pages that docs/build/render.py writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docs.build import render


def write_result(docs: Path, name: str, **more: Any) -> None:
    """Write a result of a benchmark into the folder."""
    (docs / "results").mkdir(parents=True, exist_ok=True)
    result = {"name": name, "what": "How good.", "command": f"run {name}", "targets": [], **more}
    (docs / "results" / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")


def test_render_writes_a_result_on_the_page_that_it_names(tmp_path: Path) -> None:
    targets = [
        {"name": "fast", "target": "10", "reached": "12", "met": True},
        {"name": "on a GPU", "target": "33", "reached": "unmeasured: no GPU here", "met": None},
    ]
    write_result(tmp_path, "quality")
    write_result(
        tmp_path, "speed", page="performance", targets=targets, notes=["Read <this>.", "And that."]
    )
    assert render.main(["--docs", str(tmp_path)]) == 0
    speed = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "# Performance\n" in speed and "## Speed" in speed and "## Quality" not in speed
    assert "| fast | 10 | 12 | met |" in speed
    assert "| on a GPU | 33 | unmeasured: no GPU here | not measured |" in speed
    assert "- Read &lt;this>.\n- And that." in speed
    assert "## Speed" not in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_render_check_names_an_outdated_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(tmp_path, "speed", page="performance")
    assert render.main(["--docs", str(tmp_path)]) == 0
    write_result(tmp_path, "speed", page="performance", notes=["New."])
    assert render.main(["--docs", str(tmp_path), "--check"]) == 1
    assert "performance.md does not match its results" in capsys.readouterr().err


def test_render_refuses_a_page_outside_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(tmp_path, "speed", page="../README")
    assert render.main(["--docs", str(tmp_path)]) == 1
    assert "its page '../README' is not a plain name" in capsys.readouterr().err
