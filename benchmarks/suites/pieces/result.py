"""The result of the pieces benchmark as JSON: raw numbers without names; targets, tables, notes."""

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
"""Nats per token that pieces from few items may lose against pieces from all items."""


def measure_task(place: Workspace, *, grows: bool) -> dict[str, Any]:
    """Return a task's raw numbers; measures only what the work folder lacks."""
    # Measure, or read what the work folder has.
    sizes, people = place.sizes, place.people
    scores = QualityBenchmark(place).measure_all()
    timed = measure_costs(place)
    grown = measure_growth(place) if grows else []
    found = measure_leaks(place) if people.setting.leaks else []
    path = place.folder / RESULT_FILE
    # Only numbers leave the work folder, no names of people.
    return {
        "people": {
            f"target users, with {people.setting.queries} queries each": len(people.target_users),
            "candidate sharers": people.candidates,
            "sharers per strategy": sizes.sharers,
            "sharers in all strategies together": len(people.sharers),
            "people used to choose settings": len(people.development),
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
    """Return the result as JSON data."""
    return {
        "name": name,
        "page": "pieces",
        "what": "Personalized pieces: adapters assembled from other people's pieces, compared with "
        "own training",
        "command": command,
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [SEED],
        "targets": list(iter_targets(raw)),
        "notes": build_notes(raw),
        "pictures": [
            {
                "file": f"pieces-{task}.png",
                "alt": f"{t.TITLES[task]}: gain over the base, by length of history and by number "
                "of sharers",
            }
            for task in raw
        ],
        "tables": list(iter_tables(raw)),
        "raw": raw,
    }


def iter_targets(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each target with the value reached, and whether that meets it."""
    for task, data in raw.items():
        title = t.TITLES[task].lower()
        # People, speed and size of each task.
        yield _make_people_target(title, data)
        whole = t.compute_speedups(data, "exact training", "pieces")
        yield _make_target(
            f"Assembling on {title} from the whole history, compared with exact training "
            "(`train_many`)",
            f"at least {MIN_SPEEDUP} x faster",
            f"{median(whole):.1f} x ({min(whole):.1f}–{max(whole):.1f})",
            median(whole) >= MIN_SPEEDUP,
        )
        yield _make_recent_target(title, data)
        size, own = data["bytes"]["pieces"], data["bytes"]["own"]
        yield _make_target(
            f"Bytes of a recipe on {title}",
            f"at most {MAX_RECIPE_BYTES:,}",
            f"{size:,.0f}, {own / size:,.0f} x fewer than an adapter",
            size <= MAX_RECIPE_BYTES,
        )
    # Preparation is not part of the benchmark's duration.
    seconds = sum(sum(data["seconds"].values()) for data in raw.values())
    yield _make_target(
        "Duration of the benchmark, minutes",
        f"under {MAX_MINUTES}",
        f"{seconds / 60:.1f}",
        seconds < 60 * MAX_MINUTES,
    )


def _make_people_target(title: str, data: Mapping[str, Any]) -> dict[str, Any]:
    target_users = len(data["scores"]["base"]["nats"])
    sharers = data["people"]["sharers per strategy"]
    return _make_target(
        f"People on {title}",
        "at least 30 sharers and 40 target users, none of them in the base's training data",
        f"{sharers} and {target_users}",
        sharers >= 30 and target_users >= 40,
    )


def _make_recent_target(title: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The target for the largest number of items that is fast enough: does its quality hold?"""
    fast: list[tuple[int, float]] = []
    for count in data["recent"]:
        found = t.compute_speedups(data, "exact training", f"pieces {count}")
        if found and median(found) >= MIN_RECENT_SPEEDUP:
            fast.append((count, median(found)))
    name, goal = (
        f"Assembling on {title}, `recent_k`",
        f"at least {MIN_RECENT_SPEEDUP} x faster, at most {MAX_LOSS_INCREASE:g} nats worse",
    )
    # No number of items is fast enough: report the best speedup.
    if not fast:
        best = max(
            median(t.compute_speedups(data, "exact training", f"pieces {c}"))
            for c in data["recent"]
        )
        return _make_target(name, goal, f"{best:.0f} x at best", False)
    count, faster = max(fast)
    test = t.compare_ways(data["scores"], f"pieces {count}", f"pieces {data['most']}", "nats")
    reached = (
        f"{faster:.0f} x with {count} items; gain over the whole history in nats: "
        f"{t.format_gain(test)}"
    )
    return _make_target(name, goal, reached, test.interval[0] > -MAX_LOSS_INCREASE)


def _make_target(name: str, target: str, reached: str, met: bool) -> dict[str, Any]:
    return {"name": name, "target": target, "reached": reached, "met": bool(met)}


def build_notes(raw: Mapping[str, Any]) -> list[str]:
    """Return notes on how to read the tables, and where pieces beat own training."""
    # First the conclusions, then how to read the tables.
    out = [describe_winners(task, data) for task, data in raw.items()]
    parts = {task: sum(data["prepared_seconds"].values()) for task, data in raw.items()}
    durations = ", ".join(f"{t.TITLES[k].lower()} {v / 60:.0f} minutes" for k, v in parts.items())
    return [
        *out,
        "No sharer or target user was used to adapt the base, and no item that a sharer was "
        "trained on contains words of a target user. The queries are the last items of each "
        "target user, which no method sees; a history of n items is the n items before these.",
        "Gains are paired by person; a positive gain means that the first method is better. "
        "Intervals are 95% bootstrap intervals, and p is from a two-sided Wilcoxon test. There is "
        "no correction for multiple comparisons: among twenty settings without any effect, one is "
        "expected below 0.05.",
        f"Adapters act on answers only, on q, k, v and o, at rank 8. Gates: {GATES.steps} steps of "
        f"{GATES.batch} items at rate {GATES.rate:g}. Own training: {TRAIN.epochs} epochs. "
        "Training that starts from pieces: one epoch, at the rank of the assembled adapter.",
        "Own adapters and adapters started from pieces were trained in advance, together with the "
        f"pool ({durations} in all). For the timings, training was repeated on the same people as "
        "assembling.",
        "Exact training is `train_many` with its defaults on all tokens, the fastest exact trainer "
        "on the performance page. 'One person at a time' assembles for one target user per call.",
        "The comparison of settings uses few items of each target user, to save time. 'Pieces at "
        "random' draws all pieces with equal probability, in each module, without using the target "
        "user's items.",
        "Pseudonyms: a pool has no names, words, exact counts or order of names. Still, those who "
        "have other texts of a person can often tell which pieces are theirs, because an adapter "
        "predicts its owner's texts best: in a review, 6 of 12 people were found with 8 unseen "
        "messages of each (1 by chance).",
        "Leakage: one attack of the audit only, membership inference by the loss of each item, "
        "calibrated by the base, and its verdict. At AUC 0.5 the attack cannot tell training items "
        "from others. The two-sided AUC is above that by chance alone; the column 'by chance' "
        "shows how much. The mean over items hides a single text that an adapter says word for "
        "word, so `idiolect share` runs further attacks on each item (`benchmarks/audit.py` "
        "measures them).",
        "In the pools of the growth table, gates are random numbers, and all pieces are links to "
        "real files.",
    ]


def describe_winners(task: str, data: Mapping[str, Any]) -> str:
    """Say at which lengths of history assembling beats own training, in the first metric."""
    scores, metric = data["scores"], t.list_metrics(data["scores"])[0]
    found: list[str] = []
    for way in ("pieces", "likely"):
        parts: list[str] = []
        for length in data["lengths"]:
            if f"{way} {length}" not in scores:
                continue
            test = t.compare_ways(scores, f"{way} {length}", f"own {length}", metric)
            # Only an interval that excludes 0 shows a difference.
            clear = test.interval[0] > 0 or test.interval[1] < 0
            word = ("assembled" if test.gain > 0 else "own training") if clear else "no difference"
            parts.append(f"{length} items: {word}")
        found.append(f"{NAMES[way]}, {', '.join(parts)}")
    base = fmean(t.get_scores(scores, "base", metric))
    return (
        f"{t.TITLES[task]}: the better of assembling and own training in "
        f"{t.list_headings(scores)[0]} (base {base:.3f}), if the interval of the gain excludes "
        f"zero. {'; '.join(found)}."
    )
