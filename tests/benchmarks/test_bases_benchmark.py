"""The benchmark of bases, with measured parts replaced by made-up numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import bases
from docs.build import render
from idiolect.models.folder import probe
from suites.bases import measure
from suites.bases.result import build_targets
from support.known_models import probe_known_model


def make_raw(*, loss: float = 2.0, now: float = 1.0, proof: float = 2.0) -> dict[str, Any]:
    """Raw numbers that meet all targets by default."""

    def make_quantized(share: float, adapted: float) -> dict[str, Any]:
        return {
            "linear_bytes": 1e6 * share,
            "whole_bytes": 1e6 * share,
            "training_seconds": 1.0,
            "bare": {"ann": 3.0, "bob": 3.0},
            "adapted": {"ann": adapted, "bob": adapted},
        }

    return {
        "proof": {"times": [proof]},
        "quantized": {"none": make_quantized(1, 2.0), "nf4": make_quantized(0.3, loss)},
        "families": {"llama": {"times": {"fast": [1.0], "plain": [3.0]}, "off": []}},
        "speed": {"times": {"now": [now, now], "old": [1.0, 1.0]}},
    }


def test_build_targets_are_met_by_good_results_only() -> None:
    def list_met(raw: dict[str, Any]) -> list[bool]:
        return [one["met"] for one in build_targets(raw)]

    assert list_met(make_raw()) == [True] * 4
    assert list_met(make_raw(proof=4.0)) == [False, True, True, True]
    assert list_met(make_raw(loss=2.1)) == [True, True, False, True]
    assert list_met(make_raw(now=1.1)) == [True, True, True, False]
    large = make_raw()
    large["quantized"]["nf4"]["whole_bytes"] = 0.4e6  # the linear layers alone do not count
    assert list_met(large) == [True, False, True, True]


@pytest.mark.slow
def test_measure_family_compares_ways_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_run_probe", probe_known_model)
    found = measure.measure_family("mamba (state)", 1, 1)
    assert {way: len(times) for way, times in found["times"].items()} == {"fast": 1, "plain": 1}
    assert "packed" in found["off"]


def test_bases_benchmark_writes_a_page_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, calls = make_raw(), list[str]()

    def give(part: str, found: Any) -> Any:
        def answer(*given: Any) -> Any:
            calls.append(part)
            return json.loads(json.dumps(found(*given) if callable(found) else found))

        return answer

    nf4 = raw["quantized"]["nf4"]
    monkeypatch.setattr(measure, "measure_proof", give("proof", raw["proof"]))
    monkeypatch.setattr(measure, "measure_quantized", give("quantized", nf4))
    monkeypatch.setattr(measure, "measure_family", give("family", raw["families"]["llama"]))
    monkeypatch.setattr(measure, "measure_speed", give("speed", raw["speed"]))
    target = tmp_path / "bases.json"
    command = ["bases.py", "--json", str(target), "--work", str(tmp_path / "work"), "--quick"]
    monkeypatch.setattr(sys, "argv", command)
    assert bases.main() == 0 and bases.main() == 0
    assert len(calls) == 2 + 4 + len(measure.FAMILIES)
    page = render.build_pages(tmp_path)["bases-measured"]
    assert "The embedded base quantized" in page and "mamba (state)" in page
