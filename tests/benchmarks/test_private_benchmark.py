"""The benchmark of private training on a tiny base and few people."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import private
from support.tiny_people import save_tiny_base

pytestmark = pytest.mark.finding("private-training")


def test_private_benchmark_measures_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_base(tmp_path / "tiny")
    out = tmp_path / "private.json"
    arguments = ["private.py", "--json", str(out), "--work", str(tmp_path / "work"), "--quick"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--base", str(tmp_path / "tiny")])
    assert private.main() == 0
    result = json.loads(out.read_text())
    assert (result["name"], result["page"]) == ("private", "private")
    assert [type(target["met"]) for target in result["targets"]] == [bool] * 4
    methods, canaries, meanings = result["tables"]
    assert len(methods["rows"]) == 6 and all(len(row) == 8 for row in methods["rows"])
    assert canaries["rows"][0][0] == "base"
    assert "of 100 cases" in meanings["rows"][0][2]
    assert result["raw"]["basis"]["directions"] == 2
    people = json.loads((tmp_path / "work" / "people.json").read_text())["content"]
    roles = [set(names) for names in people.values()]
    assert sum(map(len, roles)) == len(set[str]().union(*roles))
    # A second run only reads; it gives the same numbers although the noise is not repeatable.
    assert private.main() == 0
    again = json.loads(out.read_text())
    assert again["raw"] | {"elapsed": 0} == result["raw"] | {"elapsed": 0}
