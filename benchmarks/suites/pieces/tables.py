"""What was measured as tables of text; from the JSON's raw numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean, median
from typing import Any

from kit.paired_scores import (
    TITLES,
    Scores,
    Table,
    compare_ways,
    compute_speedups,
    format_gain,
    format_mean,
    get_scores,
    list_headings,
    list_metrics,
)
from suites.pieces.tables_cost import (
    build_cost_table,
    build_growth_table,
    build_leak_table,
    build_people_table,
    build_tuning_table,
)

NAMES = {
    "base": "non-personalized",
    "nearest adapter": "PEFT retrieval, the nearest",
    "average adapter": "PEFT retrieval, average of 3",
    "pieces": "Per-Pcs, pieces by gates",
    "likely": "adapters by likelihood",
    "own": "OPPU (own training)",
    "from pieces": "OPPU from pieces by gates",
    "from likely": "OPPU from adapters by likelihood",
}
BY_LENGTH = ("pieces", "likely", "own", "from pieces", "from likely")


def iter_tables(raw: Mapping[str, Any]) -> Iterator[Table]:
    """All of a task, then the next task's."""
    for task, data in raw.items():
        title = TITLES.get(task, task)
        yield build_people_table(title, data)
        yield build_method_table(title, data)
        yield build_length_table(title, data)
        yield build_own_gain_table(title, data)
        if f"from pieces {data['most']}" in data["scores"]:
            yield build_epoch_table(title, data)
        yield build_recent_table(title, data)
        yield build_tried_table(title, data)
        yield build_cost_table(title, data)
        if data["growth"]:
            yield build_growth_table(title, data)
        if data["leaks"]:
            yield build_leak_table(title, data)
        if data["develop"]:
            yield build_tuning_table(title, data)


def format_line(scores: Scores, name: str, other: str) -> list[str]:
    """Both metrics of a way, and its gain over another in both."""
    out = [format_mean(scores, name, m) for m in list_metrics(scores)]
    if name == other:
        return [*out, *["–"] * len(out)]
    return out + [format_gain(compare_ways(scores, name, other, m)) for m in list_metrics(scores)]


def build_method_table(title: str, data: Mapping[str, Any]) -> Table:
    """The ways side by side, with the whole history."""
    scores, most = data["scores"], data["most"]
    rows: list[list[str]] = []
    for key, name in NAMES.items():
        found = key if key in scores else _find_longest(scores, key, most)
        if key not in scores and found != f"{key} {most}":
            name = f"{name} ({found.split()[-1]} items)"
        size = f"{data['bytes'][key]:,.0f}" if key in data["bytes"] else "–"
        rows.append(
            [
                name,
                *format_line(scores, found, "base"),
                *_format_pieces_gain(scores, found, most),
                size,
            ]
        )
    heads = list_headings(scores)
    return {
        "title": f"{title}: ways to answer, {most} items of each newcomer",
        "columns": [
            "way",
            *heads,
            *(f"gain over the base, {h}" for h in heads),
            f"gain of pieces by gates over it, {heads[0]}",
            "bytes a person",
        ],
        "rows": rows,
    }


def _find_longest(scores: Scores, key: str, most: int) -> str:
    """A way with the longest history with which it was made."""
    return next(f"{key} {n}" for n in range(most, 0, -1) if f"{key} {n}" in scores)


def _format_pieces_gain(scores: Scores, found: str, most: int) -> list[str]:
    pieces = f"pieces {most}"
    if found == pieces:
        return ["–"]
    return [format_gain(compare_ways(scores, pieces, found, list_metrics(scores)[0]))]


def build_length_table(title: str, data: Mapping[str, Any]) -> Table:
    """Pieces beside own training at each length of history: where they win is the point."""
    scores = data["scores"]
    heads = list_headings(scores)
    rows = [
        [
            str(length),
            *(
                _format_plain_mean(scores, f"{way} {length}", m)
                for m in list_metrics(scores)
                for way in BY_LENGTH
            ),
        ]
        for length in data["lengths"]
    ]
    base = [f"{fmean(get_scores(scores, 'base', m)):.3f}" for m in list_metrics(scores)]
    return {
        "title": f"{title}: by the newcomer's last items (base: {', '.join(base)})",
        "columns": [
            "items",
            *(f"{NAMES[way]}, {h}" for h in heads for way in BY_LENGTH),
        ],
        "rows": rows,
    }


def _format_plain_mean(scores: Scores, name: str, metric: str) -> str:
    return f"{fmean(get_scores(scores, name, metric)):.3f}" if name in scores else "–"


def build_own_gain_table(title: str, data: Mapping[str, Any]) -> Table:
    """Where assembling wins over own training by the same items, paired."""
    scores = data["scores"]
    ways = [way for way in BY_LENGTH if way != "own"]
    rows = [
        [
            str(length),
            NAMES[way],
            *(
                format_gain(compare_ways(scores, f"{way} {length}", f"own {length}", m))
                for m in list_metrics(scores)
            ),
        ]
        for way in ways
        for length in data["lengths"]
        if f"{way} {length}" in scores
    ]
    heads = list_headings(scores)
    return {
        "title": f"{title}: gain over own training by the same items",
        "columns": ["items", "way", *heads],
        "rows": rows,
    }


def build_epoch_table(title: str, data: Mapping[str, Any]) -> Table:
    """Held-out loss by where training starts and how many steps it takes."""
    scores, most, epochs, steps = data["scores"], data["most"], data["epochs"], data["steps"]
    fresh = ["base", f"own {most}, 1 epoch", f"own {most}"]
    pieces = [f"pieces {most}", f"from pieces {most}", f"from pieces {most}, {epochs} epochs"]
    counts = [0, steps, epochs * steps]
    rows = [
        [
            f"{count}",
            format_mean(scores, a, "nats"),
            format_mean(scores, b, "nats"),
            format_gain(compare_ways(scores, b, a, "nats")),
        ]
        for count, a, b in zip(counts, fresh, pieces, strict=True)
    ]
    rows.append(
        [
            f"{steps} from pieces, {epochs * steps} afresh",
            format_mean(scores, fresh[2], "nats"),
            format_mean(scores, pieces[1], "nats"),
            format_gain(compare_ways(scores, pieces[1], fresh[2], "nats")),
        ]
    )
    return {
        "title": f"{title}: loss by steps of personal training, {most} items",
        "columns": ["steps", "afresh, nats", "from pieces, nats", "gain"],
        "rows": rows,
    }


def build_recent_table(title: str, data: Mapping[str, Any]) -> Table:
    """Assembling from the last items only."""
    scores, most = data["scores"], data["most"]
    counts = sorted({*data["recent"], *data["lengths"]})
    timed = [t["what"] for t in data["timed"]]
    rows = []
    for way in ("pieces", "likely"):
        longest = _find_longest(scores, way, most)
        for count in counts:
            name = f"{way} {count}"
            if name not in scores:
                continue
            speed = "–"
            what = way if name == f"pieces {most}" else name
            if what in timed:
                speed = f"{median(compute_speedups(data, 'exact training', what)):.1f} x"
            rows.append([NAMES[way], str(count), *format_line(scores, name, longest), speed])
    heads = list_headings(scores)
    return {
        "title": f"{title}: assembled by the last items alone (`recent_k`)",
        "columns": [
            "way",
            "items",
            *heads,
            *(f"against the most items, {h}" for h in heads),
            "faster than exact training",
        ],
        "rows": rows,
    }


def build_tried_table(title: str, data: Mapping[str, Any]) -> Table:
    """One setting after another."""
    scores = data["scores"]
    heads = list_headings(scores)
    rows = [
        [name, *format_line(scores, name, "likely, as it is" if "likely" in name else "as it is")]
        for name in data["tried"]
    ]
    return {
        "title": f"{title}: one setting changed at a time, pieces by the last {data['few']} items",
        "columns": ["changed", *heads, *(f"gain over as it is, {h}" for h in heads)],
        "rows": rows,
    }
