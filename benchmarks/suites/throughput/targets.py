"""The targets of the throughput benchmark, with the values reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from suites.throughput.contenders import PEER_A, PEER_B, Contender
from suites.throughput.counted import count_operations
from suites.throughput.result import TITLES, ThroughputOutcome, format_ratio
from suites.throughput.work import TrainingWork

MIN_EXACT_SPEEDUP = {PEER_B: 2.2, PEER_A: 3.5}
MIN_MEASURED_SPEEDUP = {"rating": 10.0, "reply": 6.0, "lamp-5": 8.0}
MAX_LOSS_INCREASE = 0.01
"""The share of exact training's held-out loss that other mathematics may add."""
MIN_CUDA_SPEEDUP = {"135m": 33.0, "1b": 6.0, "8b": 2.5}
MIN_MFU_8B = 0.5
MAX_MINUTES = 15
UNMEASURED = {"reached": "not measured: no GPU", "met": None}


def build_cpu_targets(run: ThroughputOutcome, minutes: float) -> list[dict[str, Any]]:
    """Return the targets of a run with the default model on two cores."""
    out = [
        t
        for work in run.works
        for t in (*_iter_exact_targets(run, work), *_iter_measured_targets(run, work))
    ]
    # Tasks that this run left out, then those that need a GPU.
    left_out = [task for task in TITLES if task not in {work.task for work in run.works}]
    for task in left_out:
        names = [
            f"Exact training on {TITLES[task]}, speedup over {peer}" for peer in MIN_EXACT_SPEEDUP
        ]
        wanted = [f"at least {least}" for least in MIN_EXACT_SPEEDUP.values()]
        names.append(f"Other mathematics on {TITLES[task]}, speedup over {PEER_B}")
        wanted.append(f"at least {MIN_MEASURED_SPEEDUP[task]:.0f}, loss within 1%")
        out += [
            {"name": n, "target": w, "reached": "not in this run", "met": None}
            for n, w in zip(names, wanted, strict=True)
        ]
    out += [{"name": n, "target": w, **UNMEASURED} for n, w in _iter_cuda_goals()]
    out.append(
        {
            "name": "Duration of the benchmark, minutes on 2 cores",
            "target": f"under {MAX_MINUTES}",
            "reached": f"{minutes:.1f}" + (f", {len(run.works)} task of 3" if left_out else ""),
            "met": None if left_out else minutes < MAX_MINUTES,
        }
    )
    return out


def build_cuda_targets(run: ThroughputOutcome, shape: str) -> list[dict[str, Any]]:
    """Return the targets of a run on a GPU, for one shape."""
    (work,) = run.works
    _, values = _find_best(run, work, "exact", PEER_B)
    wanted = dict(_iter_cuda_goals())
    goal = MIN_CUDA_SPEEDUP.get(shape)
    out: list[dict[str, Any]] = []
    if goal is not None:
        name = _format_cuda_name(shape)
        met = bool(values) and statistics.median(values) >= goal
        out.append(
            {"name": name, "target": wanted[name], "reached": format_ratio(values), "met": met}
        )
    # The share of the peak counts the operations that exact training requires.
    if shape == "8b":
        best, _ = _find_best(run, work, "exact", PEER_B)
        seconds = statistics.median(t.seconds for t in run.measured.select_timings(work.task, best))
        rate = (
            run.epochs * count_operations(run.model, work.token_count, work.target_count) / seconds
        )
        share = rate / run.peak_rate
        out.append(
            {
                "name": _MFU_NAME,
                "target": wanted[_MFU_NAME],
                "reached": f"{share:.1%}",
                "met": share >= MIN_MFU_8B,
            }
        )
    return out


_MFU_NAME = "MFU on one GPU at 8B, executed operations only"


def _format_cuda_name(shape: str) -> str:
    return f"Exact training on one GPU at {shape.upper()}, speedup over {PEER_B}"


def _iter_cuda_goals() -> Iterator[tuple[str, str]]:
    for shape, least in MIN_CUDA_SPEEDUP.items():
        yield _format_cuda_name(shape), f"at least {least:g}"
    yield _MFU_NAME, f"at least {MIN_MFU_8B:.0%}"


def _find_best(
    run: ThroughputOutcome, work: TrainingWork, kind: str, peer: str
) -> tuple[str, tuple[float, ...]]:
    """Return the fastest method of a kind and its speedups over a peer; empty if there is none.

    Methods with other mathematics count only if they keep exact training's held-out loss.
    """
    # Methods of this kind that ran on the task and keep the loss.
    found = [
        (m.name, run.measured.compute_ratios(work.task, m.name, peer))
        for m in run.methods
        if m.kind == kind
        and run.measured.select_timings(work.task, m.name)
        and (
            kind == "exact"
            or run.measured.compute_loss(work.task, m.name) <= _compute_allowed_loss(run, work, m)
        )
    ]
    found = [(name, values) for name, values in found if values]
    return max(found, key=lambda one: statistics.median(one[1]), default=("", ()))


def _compute_allowed_loss(run: ThroughputOutcome, work: TrainingWork, method: Contender) -> float:
    """Return the maximum loss of a method: exact training's on the same people, and a margin."""
    exact = [
        run.measured.compute_loss(work.task, m.name, method.name)
        for m in run.methods
        if m.kind == "exact" and not m.people and run.measured.select_timings(work.task, m.name)
    ]
    return (1 + MAX_LOSS_INCREASE) * (statistics.fmean(exact) if exact else float("inf"))


def _iter_exact_targets(run: ThroughputOutcome, work: TrainingWork) -> Iterator[dict[str, Any]]:
    for peer, least in MIN_EXACT_SPEEDUP.items():
        name, values = _find_best(run, work, "exact", peer)
        yield _make_target(
            f"Exact training on {TITLES[work.task]}, speedup over {peer}", least, "", name, values
        )


def _iter_measured_targets(run: ThroughputOutcome, work: TrainingWork) -> Iterator[dict[str, Any]]:
    name, values = _find_best(run, work, "measured", PEER_B)
    title = f"Other mathematics on {TITLES[work.task]}, speedup over {PEER_B}"
    yield _make_target(title, MIN_MEASURED_SPEEDUP[work.task], ", loss within 1%", name, values)


def _make_target(
    title: str, least: float, more: str, method: str, values: tuple[float, ...]
) -> dict[str, Any]:
    return {
        "name": title,
        "target": f"at least {least:g}{more}",
        "reached": f"{format_ratio(values)} ({method})" if values else "no method keeps the loss",
        "met": bool(values) and statistics.median(values) >= least,
    }
