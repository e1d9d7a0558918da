"""Every figure that was asked for, and what was reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from suites.throughput.contenders import PEER_A, PEER_B, Contender
from suites.throughput.counted import operations
from suites.throughput.result import TITLES, Outcome, ratio
from suites.throughput.work import Work

EXACT = {PEER_B: 2.2, PEER_A: 3.5}
MEASURED = {"rating": 10.0, "reply": 6.0, "lamp-5": 8.0}
LOSS_SLACK = 0.01
"""Other mathematics may cost at most this share of exact training's held-out loss."""
CUDA = {"135m": 33.0, "1b": 6.0, "8b": 2.5}
MFU_8B = 0.5
MINUTES = 15
ABSENT = {"reached": "unmeasured: no GPU here", "met": None}


def cpu_targets(run: Outcome, minutes: float) -> list[dict[str, Any]]:
    """Of a run with the default model on two cores."""
    out = [t for work in run.works for t in (*_exact(run, work), *_measured(run, work))]
    left_out = [task for task in TITLES if task not in {work.task for work in run.works}]
    for task in left_out:
        names = [f"Exact on {TITLES[task]}, times {peer}" for peer in EXACT]
        wanted = [f"at least {least}" for least in EXACT.values()]
        names.append(f"Other mathematics on {TITLES[task]}, times {PEER_B}")
        wanted.append(f"at least {MEASURED[task]:.0f}, loss within 1%")
        out += [
            {"name": n, "target": w, "reached": "not in this run", "met": None}
            for n, w in zip(names, wanted, strict=True)
        ]
    out += [{"name": n, "target": w, **ABSENT} for n, w in _cuda_wanted()]
    out.append(
        {
            "name": "The whole run, minutes on 2 cores",
            "target": f"under {MINUTES}",
            "reached": f"{minutes:.1f}" + (f", {len(run.works)} task of 3" if left_out else ""),
            "met": None if left_out else minutes < MINUTES,
        }
    )
    return out


def cuda_targets(run: Outcome, shape: str) -> list[dict[str, Any]]:
    """Of a run on a GPU, for one shape."""
    (work,) = run.works
    _, values = _best(run, work, "exact", PEER_B)
    wanted = dict(_cuda_wanted())
    goal = CUDA.get(shape)
    out: list[dict[str, Any]] = []
    if goal is not None:
        name = _cuda_name(shape)
        met = bool(values) and statistics.median(values) >= goal
        out.append({"name": name, "target": wanted[name], "reached": ratio(values), "met": met})
    if shape == "8b":
        best, _ = _best(run, work, "exact", PEER_B)
        seconds = statistics.median(t.seconds for t in run.measured.of(work.task, best))
        rate = run.epochs * operations(run.model, work.tokens, work.targets) / seconds
        share = rate / run.peak
        out.append(
            {
                "name": _MFU_NAME,
                "target": wanted[_MFU_NAME],
                "reached": f"{share:.1%}",
                "met": share >= MFU_8B,
            }
        )
    return out


_MFU_NAME = "MFU on one GPU at 8B, operations executed alone"


def _cuda_name(shape: str) -> str:
    return f"Exact on one GPU at {shape.upper()}, times {PEER_B}"


def _cuda_wanted() -> Iterator[tuple[str, str]]:
    for shape, least in CUDA.items():
        yield _cuda_name(shape), f"at least {least:g}"
    yield _MFU_NAME, f"at least {MFU_8B:.0%}"


def _best(run: Outcome, work: Work, kind: str, peer: str) -> tuple[str, tuple[float, ...]]:
    """The fastest method of a kind by its median ratio to a peer; empty where there is none.

    Of other mathematics only those count that keep exact training's held-out loss.
    """
    found = [
        (m.name, run.measured.ratios(work.task, m.name, peer))
        for m in run.methods
        if m.kind == kind
        and run.measured.of(work.task, m.name)
        and (kind == "exact" or run.measured.loss(work.task, m.name) <= _loss_allowed(run, work, m))
    ]
    found = [(name, values) for name, values in found if values]
    return max(found, key=lambda one: statistics.median(one[1]), default=("", ()))


def _loss_allowed(run: Outcome, work: Work, method: Contender) -> float:
    """What exact training loses on the people whom the method trained, and a little more."""
    exact = [
        run.measured.loss(work.task, m.name, method.name)
        for m in run.methods
        if m.kind == "exact" and not m.people and run.measured.of(work.task, m.name)
    ]
    return (1 + LOSS_SLACK) * (statistics.fmean(exact) if exact else float("inf"))


def _exact(run: Outcome, work: Work) -> Iterator[dict[str, Any]]:
    for peer, least in EXACT.items():
        name, values = _best(run, work, "exact", peer)
        yield _target(f"Exact on {TITLES[work.task]}, times {peer}", least, "", name, values)


def _measured(run: Outcome, work: Work) -> Iterator[dict[str, Any]]:
    name, values = _best(run, work, "measured", PEER_B)
    title = f"Other mathematics on {TITLES[work.task]}, times {PEER_B}"
    yield _target(title, MEASURED[work.task], ", loss within 1%", name, values)


def _target(
    title: str, least: float, more: str, method: str, values: tuple[float, ...]
) -> dict[str, Any]:
    return {
        "name": title,
        "target": f"at least {least:g}{more}",
        "reached": f"{ratio(values)} ({method})" if values else "nothing that keeps the loss",
        "met": bool(values) and statistics.median(values) >= least,
    }
