"""The benchmark's JSON: raw numbers without names, targets, tables and notes from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.storage.files import read_json
from idiolect.training.schedule import count_steps
from kit import paired_scores as t
from suites.pieces.cost import measure_costs
from suites.pieces.growth import measure_growth
from suites.pieces.leaks import measure_leaks
from suites.pieces.prepare import format_own_store, format_pieces_store, select_start_lengths
from suites.pieces.quality import (
    QualityBenchmark,
    list_likelihood_tries,
    list_tries,
    measure_adapter_bytes,
    measure_recipe_bytes,
)
from suites.pieces.settings import GATES, SEED, TRAIN
from suites.pieces.tables import NAMES, iter_tables
from suites.pieces.tune_gates import RESULT_FILE
from suites.pieces.workspace import Workspace

MIN_SPEEDUP, MIN_RECENT_SPEEDUP, MAX_RECIPE_BYTES, MAX_MINUTES = 6, 50, 2048, 20
MAX_LOSS_INCREASE = 0.02
"""Nats a token by which pieces from few items may be worse than from all and still hold."""


def measure_task(place: Workspace, *, grows: bool) -> dict[str, Any]:
    """A task's raw numbers, measured where they are not yet."""
    sizes, people = place.sizes, place.people
    scores = QualityBenchmark(place).measure_all()
    timed = measure_costs(place)
    grown = measure_growth(place) if grows else []
    found = measure_leaks(place) if people.setting.leaks else []
    path = place.folder / RESULT_FILE
    return {
        "people": {
            "newcomers, each asked " + f"{people.setting.queries} times": len(people.newcomers),
            "candidates for sharing": people.candidates,
            "sharers of a strategy": sizes.sharers,
            "sharers of all strategies together": len(people.sharers),
            "people on whom settings were chosen": len(people.development),
        },
        "most": sizes.longest_history,
        "few": people.setting.few,
        "lengths": list(sizes.lengths),
        "recent": list(sizes.recent),
        "epochs": TRAIN.epochs,
        "steps": count_steps(sizes.longest_history, TRAIN) // TRAIN.epochs,
        "tried": [*list_tries(place), *list_likelihood_tries(place)],
        "scores": {name: asdict(one) for name, one in scores.items()},
        "timed": timed,
        "growth": grown,
        "leaks": found,
        "bytes": {
            "own": measure_adapter_bytes(place, format_own_store(sizes.longest_history)),
            "from pieces": measure_adapter_bytes(
                place, format_pieces_store(max(select_start_lengths(place)))
            ),
            "pieces": measure_recipe_bytes(place),
        },
        "develop": read_json(path)["rows"] if path.is_file() else {},
        "prepared_seconds": read_json(place.folder / "seconds.json"),
        "seconds": read_json(place.artifact_folder / "seconds.json"),
    }


def build_result(raw: Mapping[str, Any], name: str, command: str) -> dict[str, Any]:
    """The benchmark's JSON."""
    return {
        "name": name,
        "page": "pieces",
        "what": "Personalized pieces: adapters assembled from others', against own training",
        "command": command,
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [SEED],
        "targets": list(iter_targets(raw)),
        "notes": build_notes(raw),
        "pictures": [
            {
                "file": f"pieces-{task}.png",
                "alt": f"{t.TITLES[task]}: gain over the base by history, and by sharers",
            }
            for task in raw
        ],
        "tables": list(iter_tables(raw)),
        "raw": raw,
    }


def iter_targets(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every figure that is asked for, what was reached, and whether that meets it."""
    for task, data in raw.items():
        title = t.TITLES[task].lower()
        yield _make_people_target(title, data)
        whole = t.compute_speedups(data, "exact training", "pieces")
        yield _make_target(
            f"Assembling on {title}, whole history, against exact training (`train_many`)",
            f"at least {MIN_SPEEDUP} x faster",
            f"{median(whole):.1f} x ({min(whole):.1f}–{max(whole):.1f})",
            median(whole) >= MIN_SPEEDUP,
        )
        yield _make_recent_target(title, data)
        size, own = data["bytes"]["pieces"], data["bytes"]["own"]
        yield _make_target(
            f"Bytes of a recipe on {title}",
            f"at most {MAX_RECIPE_BYTES:,}",
            f"{size:,.0f}, {own / size:,.0f} x less than an adapter",
            size <= MAX_RECIPE_BYTES,
        )
    seconds = sum(sum(data["seconds"].values()) for data in raw.values())
    yield _make_target(
        "The benchmark itself, minutes",
        f"under {MAX_MINUTES}",
        f"{seconds / 60:.1f}",
        seconds < 60 * MAX_MINUTES,
    )


def _make_people_target(title: str, data: Mapping[str, Any]) -> dict[str, Any]:
    newcomers = len(data["scores"]["base"]["nats"])
    sharers = data["people"]["sharers of a strategy"]
    return _make_target(
        f"People on {title}",
        "at least 30 sharers and 40 newcomers, nobody of them in the base",
        f"{sharers} and {newcomers}",
        sharers >= 30 and newcomers >= 40,
    )


def _make_recent_target(title: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The most items that are fast enough, and whether their quality holds."""
    fast: list[tuple[int, float]] = []
    for count in data["recent"]:
        found = t.compute_speedups(data, "exact training", f"pieces {count}")
        if found and median(found) >= MIN_RECENT_SPEEDUP:
            fast.append((count, median(found)))
    name, goal = (
        f"Assembling on {title}, `recent_k`",
        f"at least {MIN_RECENT_SPEEDUP} x, quality holds",
    )
    if not fast:
        best = max(
            median(t.compute_speedups(data, "exact training", f"pieces {c}"))
            for c in data["recent"]
        )
        return _make_target(name, goal, f"{best:.0f} x at best", False)
    count, faster = max(fast)
    test = t.compare_ways(data["scores"], f"pieces {count}", f"pieces {data['most']}", "nats")
    reached = (
        f"{faster:.0f} x with {count} items, {t.format_gain(test)} nats against the whole history"
    )
    return _make_target(name, goal, reached, test.interval[0] > -MAX_LOSS_INCREASE)


def _make_target(name: str, target: str, reached: str, met: bool) -> dict[str, Any]:
    return {"name": name, "target": target, "reached": reached, "met": bool(met)}


def build_notes(raw: Mapping[str, Any]) -> list[str]:
    """How to read the tables, and where pieces beat own training."""
    out = [describe_winners(task, data) for task, data in raw.items()]
    parts = {task: sum(data["prepared_seconds"].values()) for task, data in raw.items()}
    told = ", ".join(f"{t.TITLES[k].lower()} {v / 60:.0f} minutes" for k, v in parts.items())
    return [
        *out,
        "Nobody who shares or is a newcomer went into the base; no item that a sharer was trained "
        "on holds a newcomer's words. Newcomers' last items are asked and never seen; a history of "
        "n items is the n before these.",
        "Gains are paired by person, positive where the first is better, with 95% bootstrap "
        "intervals and p of a two-sided Wilcoxon test. They are not adjusted for their number: of "
        "twenty settings that change nothing one is expected below 0.05.",
        f"Adapters act on answers only, on q, k, v and o at rank 8. Gates: {GATES.steps} steps of "
        f"{GATES.batch} items at rate {GATES.rate:g}. Own training: {TRAIN.epochs} epochs; from "
        "pieces: one, and the adapter keeps the rank of the assembled one.",
        "Own adapters and those from pieces were trained beforehand, with the pool "
        f"({told} in all); what is timed was trained anew, on the same people as assembling.",
        "Exact training is `train_many` with its defaults on all tokens, the fastest exact trainer "
        "on the performance page; 'pieces, alone' assembles one newcomer at a time.",
        "One setting after another was tried with few items of each newcomer, for time. 'Pieces at "
        "random' are drawn at each module alike, without looking at the newcomer.",
        "Leakage: an attack by each item's loss, calibrated by the base. AUC 0.5 says nothing was "
        "told apart; the two-sided one is above that by chance, by as much as stands beside it.",
        "In pools for growth gates are random numbers and all pieces links to real files.",
    ]


def describe_winners(task: str, data: Mapping[str, Any]) -> str:
    """At which lengths of history assembling beats own training."""
    scores = data["scores"]
    told: list[str] = []
    for way in ("pieces", "likely"):
        parts: list[str] = []
        for length in data["lengths"]:
            if f"{way} {length}" not in scores:
                continue
            test = t.compare_ways(
                scores, f"{way} {length}", f"own {length}", t.list_metrics(scores)[0]
            )
            clear = test.interval[0] > 0 or test.interval[1] < 0
            word = ("assembled" if test.gain > 0 else "own training") if clear else "no difference"
            parts.append(f"{length} items: {word}")
        told.append(f"{NAMES[way]}, {', '.join(parts)}")
    base = fmean(t.get_scores(scores, "base", t.list_metrics(scores)[0]))
    return (
        f"{t.TITLES[task]}, who wins in {t.list_headings(scores)[0]} (base {base:.3f}) where "
        "intervals "
        f"tell: {'; '.join(told)}."
    )
