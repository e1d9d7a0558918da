"""``idiolect base check`` on a tiny model and on what is no model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect import api
from idiolect.models.folder import probe
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.tiny import make_tiny_base
from idiolect.training.base_report.base_report import BaseReport, WayVerdict
from support.known_models import probe_known_model
from support.run_cli import run_cli, run_cli_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probe, "_run_probe", probe_known_model)
    tiny = make_tiny_base()
    with silence_transformers():
        tiny.model.save_pretrained(tmp_path / "little")
        tiny.tokenizer.save_pretrained(tmp_path / "little")
    return tmp_path / "little"


def test_base_check_prints_what_the_base_needs(folder: Path) -> None:
    text = run_cli("base", "check", folder, "--device", "cpu", "--dtype", "float32").stdout
    assert "llama (LlamaForCausalLM)" in text and "q_proj, v_proj (4 modules)" in text
    assert "Memory (computed, not measured)" in text
    assert "fast ways that are right: attention, batched, packed" in text
    assert "Fast ways that are off" not in text
    rows = [line.split()[:2] for line in text.splitlines()]
    assert ["PEFT", "yes"] in rows and ["GGUF", "yes"] in rows and ["vLLM", "not"] in rows


def test_base_check_prints_json(folder: Path) -> None:
    found = run_cli_json("base", "check", folder, "--device", "cpu", "--dtype", "float32")
    assert found["family"] == "llama" and found["memory"][1]["precision"] == "nf4"
    assert all(way["right"] for way in found["ways"])


def test_base_check_exits_with_one_line_for_refused_base(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    done = run_cli("base", "check", folder, "--device", "cpu", code=1)
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"error: {folder}: its tokenizer cannot be")


def show_changed_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> tuple[BaseReport, str]:
    """Return a report with some fields changed, and what the command prints of it."""
    request = api.BaseCheckRequest(base=str(folder), dtype="float32", device="cpu")
    report = replace(api.check_base(request), **changes)
    monkeypatch.setattr(api, "check_base", lambda request: report)
    return report, run_cli("base", "check", folder).stdout


def test_base_check_lists_ways_that_are_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = (
        WayVerdict(way="cached", right=True),
        WayVerdict(way="packed", right=False, differs="rows meet", costs="more padding"),
    )
    _, text = show_changed_report(folder, monkeypatch, ways=ways, flat_modules=("fc1",))
    assert "fast ways that are right: cached\n" in text
    assert any(
        line.split() == ["packed", "rows", "meet", "more", "padding"] for line in text.split("\n")
    )
    assert "adapters on fc1 are trained for one person at a time" in text


def test_base_check_says_why_it_did_not_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = show_changed_report(folder, monkeypatch, ways=(), not_loaded="there is no room")
    assert "fast ways: not checked, because there is no room\n" in text
