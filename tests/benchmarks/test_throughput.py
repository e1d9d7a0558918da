"""The throughput benchmark: ratios, tables, targets, and a run on a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import throughput
from idiolect.errors import TrainingError
from kit import memory
from kit.subprocess import MethodProcess
from suites.throughput.bases import load_shape_or_base
from suites.throughput.contenders import Contender, list_contenders, order_methods
from suites.throughput.counted import MatmulPeak
from suites.throughput.measure import Measurement, Timing
from suites.throughput.result import ThroughputOutcome, iter_tables
from suites.throughput.targets import build_cpu_targets, build_cuda_targets
from suites.throughput.work import make_random_work

SECONDS = {"peer-a": (35.0, 36.0), "peer-b": (20.0, 24.0), "ours": (10.0, 10.0)}
PACKED = "ours, without padding"
OTHER = {"careful": 1.0, "careless": 0.5}
"""Methods with other mathematics: one keeps the loss, the faster one does not."""
LOSSES = {"peer-a": 1.01, "peer-b": 1.0, "ours": 1.0, "careful": 1.005, "careless": 1.2}


def make_outcome(task: str) -> ThroughputOutcome:
    """Return a made-up run of one task."""
    seconds = {**SECONDS, **{name: (s, s) for name, s in OTHER.items()}}
    kinds = {"ours": "exact", "careful": "measured", "careless": "measured"}
    return ThroughputOutcome(
        methods=[
            Contender(name=name, what="", kind=kinds.get(name, "peer"))  # pyright: ignore
            for name in seconds
        ],
        works=[make_random_work(task, people=4, items=5, tokens=10, words=50)],
        measured=Measurement(
            timings=tuple(
                Timing(task=task, method=name, repetition=n, seconds=s, peak_mib=100.0)
                for name, both in seconds.items()
                for n, s in enumerate(both)
            ),
            by_person={
                (task, name): {"p0": loss} if name.startswith("peer") else {"p0": loss, "p1": 2.0}
                for name, loss in LOSSES.items()
            },
        ),
        untrained={task: 1.5},
        epochs=2,
        model=load_shape_or_base("tiny", "cpu").model,
        peaks=[MatmulPeak("large", 1e6)],
    )


def test_compute_ratios_compares_within_a_repetition() -> None:
    measured = make_outcome("rating").measured
    assert measured.compute_ratios("rating", "ours", "peer-b") == (2.0, 2.4)
    assert measured.compute_ratios("rating", "ours", "peer-c") == ()


def test_iter_tables_summarizes_a_task() -> None:
    table, *_ = iter_tables(make_outcome("rating"))
    rows = {row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
    assert table["title"].startswith("Film ratings: 4 people, 20 items of 10 tokens (1 targets)")
    ours = rows["ours"]
    assert ours["people/hour"] == "1,440"
    assert ours["speedup over peer B"] == "2.20 (2.00–2.40)"
    assert ours["tokens/s"] == "40" and ours["target tokens/s"] == "4"
    assert (ours["held-out loss"], ours["held-out loss, all people"]) == ("1.000", "1.500")
    assert rows["no adapter"]["held-out loss, all people"] == "1.500"
    assert rows["peer-b"]["held-out loss, all people"] == "–"
    assert rows["careful"]["share of peak"] == "–"


def test_targets_count_only_methods_that_keep_the_loss() -> None:
    # The careless method is faster, but loses too much.
    found = {t["name"]: t for t in build_cpu_targets(make_outcome("rating"), minutes=16)}
    exact = found["Exact training on film ratings, speedup over peer-b"]
    assert exact["reached"] == "2.20 (2.00–2.40) (ours)" and exact["met"] is True
    assert found["Exact training on film ratings, speedup over peer-a"]["met"] is True
    other = found["Other mathematics on film ratings, speedup over peer-b"]
    assert other["reached"].endswith("(careful)") and other["met"] is True
    assert found["Exact training on chat replies, speedup over peer-b"]["met"] is None
    assert found["MFU on one GPU at 8B, executed operations only"]["met"] is None
    # A run of one task does not decide the target of the whole run.
    whole = found["Duration of the benchmark, minutes on 2 cores"]
    assert whole["met"] is None and whole["reached"] == "16.0, 1 task of 3"
    on_gpu = {t["name"]: t["met"] for t in build_cuda_targets(make_outcome("8b"), "8b")}
    assert on_gpu == {
        "Exact training on one GPU at 8B, speedup over peer-b": False,
        "MFU on one GPU at 8B, executed operations only": True,
    }


def test_order_methods_alternates_and_puts_each_method_first() -> None:
    names = ("a", "b", "c")
    orders = [order_methods(names, n) for n in range(6)]
    assert all(sorted(o) == sorted(names) for o in orders)
    assert {o[0] for o in orders} == set(names)
    assert orders[0] != orders[1] != orders[2]


def test_list_contenders_includes_peer_c_only_with_its_python() -> None:
    assert "peer-c" not in {c.name for c in list_contenders(None)}
    (peer,) = (c for c in list_contenders("some/python") if c.name == "peer-c")
    assert peer.python == "some/python"
    assert peer.runs_on("rating") and not peer.runs_on("reply")


def test_method_process_reports_why_it_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with (
        MethodProcess("x", command, tmp_path / "log") as process,
        pytest.raises(TrainingError, match="x: its process ended: no model here"),
    ):
        process.wait_until_ready()


def test_read_peak_mib_includes_memory_that_was_freed() -> None:
    if not memory.reset_peak():
        pytest.skip("this system does not reset the peak")
    before = memory.read_peak_mib()
    # Hold 64 MiB for a moment: the peak includes it even after it was freed.
    held = bytearray(b"x") * (64 * 2**20)
    del held
    assert memory.read_peak_mib() >= before + 60
    assert memory.reset_peak() and memory.read_peak_mib() < before + 30


def test_throughput_benchmark_measures_a_tiny_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "speed.json"
    arguments = ["--json", str(out), "--shape", "tiny", "--people", "2", "--items", "8"]
    more = ["--repeats", "1", "--device", "cpu", "--method", "peer-b", "--method", "ours"]
    more += ["--method", PACKED]
    monkeypatch.setattr(sys, "argv", ["throughput.py", *arguments, *more])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert throughput.main() == 0
    result: Any = json.loads(out.read_text(encoding="utf-8"))
    assert result["name"] == "speed" and str(tmp_path) not in out.read_text(encoding="utf-8")
    assert result["command"].startswith(
        "python benchmarks/throughput.py --json speed.json --method peer-b --method ours"
    )
    assert "--device cpu" in result["command"]
    methods = [t["method"] for t in result["raw"]["timings"]]
    assert sorted(methods) == ["ours", PACKED, "peer-b"]
    # All methods train the same adapters, so their losses agree.
    losses = {one["method"]: one["by_person"] for one in result["raw"]["losses"]}
    assert losses["ours"] == pytest.approx(losses["peer-b"], rel=1e-3)
    assert losses[PACKED] == pytest.approx(losses["ours"], rel=1e-5)
    assert all(t["seconds"] > 0 and t["peak_mib"] > 0 for t in result["raw"]["timings"])


def test_throughput_benchmark_names_an_unknown_method(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--json", "x.json", "--shape", "tiny", "--method", "peer-z"]
    monkeypatch.setattr(sys, "argv", ["throughput.py", *arguments])
    assert throughput.main() == 2
    assert "peer-z" in capsys.readouterr().err
