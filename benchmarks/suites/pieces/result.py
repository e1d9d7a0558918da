"""The benchmark's JSON: raw numbers without names, targets, tables and notes from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

from idiolect.evaluation.environment import hardware, versions
from idiolect.storage.files import read_json
from idiolect.training.schedule import steps_of
from kit import paired_scores as t
from suites.pieces.cost import costs
from suites.pieces.growth import growth
from suites.pieces.leaks import leaks
from suites.pieces.prepare import own_store, pieces_store, started
from suites.pieces.quality import Quality, adapter_bytes, likely_tries, recipe_bytes, tries
from suites.pieces.settings import GATES, SEED, TRAIN
from suites.pieces.tables import NAMES, tables
from suites.pieces.tune_gates import RESULT
from suites.pieces.workspace import Place

WHOLE_TIMES, RECENT_TIMES, RECIPE_BYTES, MINUTES = 6, 50, 2048, 20
HOLDS = 0.02
"""Nats a token by which pieces from few items may be worse than from all and still hold."""


def measure(place: Place, *, grows: bool) -> dict[str, Any]:
    """A task's raw numbers, measured where they are not yet."""
    sizes, people = place.sizes, place.people
    scores = Quality(place).all()
    timed = costs(place)
    grown = growth(place) if grows else []
    found = leaks(place) if people.setting.leaks else []
    path = place.folder / RESULT
    return {
        "people": {
            "newcomers, each asked " + f"{people.setting.queries} times": len(people.newcomers),
            "candidates for sharing": people.candidates,
            "sharers of a strategy": sizes.sharers,
            "sharers of all strategies together": len(people.sharers),
            "people on whom settings were chosen": len(people.development),
        },
        "most": sizes.most,
        "few": people.setting.few,
        "lengths": list(sizes.lengths),
        "recent": list(sizes.recent),
        "epochs": TRAIN.epochs,
        "steps": steps_of(sizes.most, TRAIN) // TRAIN.epochs,
        "tried": [*tries(place), *likely_tries(place)],
        "scores": {name: asdict(one) for name, one in scores.items()},
        "timed": timed,
        "growth": grown,
        "leaks": found,
        "bytes": {
            "own": adapter_bytes(place, own_store(sizes.most)),
            "from pieces": adapter_bytes(place, pieces_store(max(started(place)))),
            "pieces": recipe_bytes(place),
        },
        "develop": read_json(path)["rows"] if path.is_file() else {},
        "prepared_seconds": read_json(place.folder / "seconds.json"),
        "seconds": read_json(place.made / "seconds.json"),
    }


def result_of(raw: Mapping[str, Any], name: str, command: str) -> dict[str, Any]:
    """The benchmark's JSON."""
    return {
        "name": name,
        "page": "pieces",
        "what": "Personalized pieces: adapters assembled from others', against own training",
        "command": command,
        "environment": {"hardware": hardware(), "versions": versions()},
        "seeds": [SEED],
        "targets": list(targets(raw)),
        "notes": notes(raw),
        "pictures": [
            {
                "file": f"pieces-{task}.png",
                "alt": f"{t.TITLES[task]}: gain over the base by history, and by sharers",
            }
            for task in raw
        ],
        "tables": list(tables(raw)),
        "raw": raw,
    }


def targets(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every figure that is asked for, what was reached, and whether that meets it."""
    for task, data in raw.items():
        title = t.TITLES[task].lower()
        yield _people(title, data)
        whole = t.times(data, "exact training", "pieces")
        yield _target(
            f"Assembling on {title}, whole history, against exact training (`train_many`)",
            f"at least {WHOLE_TIMES} x faster",
            f"{median(whole):.1f} x ({min(whole):.1f}–{max(whole):.1f})",
            median(whole) >= WHOLE_TIMES,
        )
        yield _recent(title, data)
        size, own = data["bytes"]["pieces"], data["bytes"]["own"]
        yield _target(
            f"Bytes of a recipe on {title}",
            f"at most {RECIPE_BYTES:,}",
            f"{size:,.0f}, {own / size:,.0f} x less than an adapter",
            size <= RECIPE_BYTES,
        )
    seconds = sum(sum(data["seconds"].values()) for data in raw.values())
    yield _target(
        "The benchmark itself, minutes",
        f"under {MINUTES}",
        f"{seconds / 60:.1f}",
        seconds < 60 * MINUTES,
    )


def _people(title: str, data: Mapping[str, Any]) -> dict[str, Any]:
    newcomers = len(data["scores"]["base"]["nats"])
    sharers = data["people"]["sharers of a strategy"]
    return _target(
        f"People on {title}",
        "at least 30 sharers and 40 newcomers, nobody of them in the base",
        f"{sharers} and {newcomers}",
        sharers >= 30 and newcomers >= 40,
    )


def _recent(title: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The most items that are fast enough, and whether their quality holds."""
    fast: list[tuple[int, float]] = []
    for count in data["recent"]:
        found = t.times(data, "exact training", f"pieces {count}")
        if found and median(found) >= RECENT_TIMES:
            fast.append((count, median(found)))
    name, goal = f"Assembling on {title}, `recent_k`", f"at least {RECENT_TIMES} x, quality holds"
    if not fast:
        best = max(median(t.times(data, "exact training", f"pieces {c}")) for c in data["recent"])
        return _target(name, goal, f"{best:.0f} x at best", False)
    count, faster = max(fast)
    test = t.against(data["scores"], f"pieces {count}", f"pieces {data['most']}", "nats")
    reached = f"{faster:.0f} x with {count} items, {t.shown(test)} nats against the whole history"
    return _target(name, goal, reached, test.interval[0] > -HOLDS)


def _target(name: str, target: str, reached: str, met: bool) -> dict[str, Any]:
    return {"name": name, "target": target, "reached": reached, "met": bool(met)}


def notes(raw: Mapping[str, Any]) -> list[str]:
    """How to read the tables, and where pieces beat own training."""
    out = [winners(task, data) for task, data in raw.items()]
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


def winners(task: str, data: Mapping[str, Any]) -> str:
    """At which lengths of history assembling beats own training."""
    scores = data["scores"]
    told: list[str] = []
    for way in ("pieces", "likely"):
        parts: list[str] = []
        for length in data["lengths"]:
            if f"{way} {length}" not in scores:
                continue
            test = t.against(scores, f"{way} {length}", f"own {length}", t.metrics(scores)[0])
            clear = test.interval[0] > 0 or test.interval[1] < 0
            word = ("assembled" if test.gain > 0 else "own training") if clear else "no difference"
            parts.append(f"{length} items: {word}")
        told.append(f"{NAMES[way]}, {', '.join(parts)}")
    base = fmean(t.of(scores, "base", t.metrics(scores)[0]))
    return (
        f"{t.TITLES[task]}, who wins in {t.headings(scores)[0]} (base {base:.3f}) where intervals "
        f"tell: {'; '.join(told)}."
    )
