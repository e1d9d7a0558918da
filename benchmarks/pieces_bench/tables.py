"""What was measured as tables of text; from the JSON's raw numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean, median
from typing import Any

from pieces_bench.paired_scores import (
    TITLES,
    Scores,
    Table,
    against,
    headings,
    metrics,
    of,
    scored,
    shown,
    times,
)
from pieces_bench.tables_cost import cost, develop, growth, leaks, who

NAMES = {
    "base": "non-personalized",
    "nearest adapter": "PEFT retrieval, the nearest",
    "average adapter": "PEFT retrieval, average of 3",
    "pieces": "Per-Pcs (assembled)",
    "own": "OPPU (own training)",
    "from pieces": "OPPU from pieces",
}


def tables(raw: Mapping[str, Any]) -> Iterator[Table]:
    """All of a task, then the next task's."""
    for task, data in raw.items():
        title = TITLES.get(task, task)
        yield who(title, data)
        yield methods(title, data)
        yield by_length(title, data)
        yield by_epochs(title, data)
        yield recent(title, data)
        yield tried(title, data)
        yield cost(title, data)
        if data["growth"]:
            yield growth(title, data)
        yield leaks(title, data)
        if data["develop"]:
            yield develop(title, data)


def line(scores: Scores, name: str, other: str) -> list[str]:
    """Both metrics of a way, and its gain over another in both."""
    out = [scored(scores, name, m) for m in metrics(scores)]
    if name == other:
        return [*out, *["–"] * len(out)]
    return out + [shown(against(scores, name, other, m)) for m in metrics(scores)]


def methods(title: str, data: Mapping[str, Any]) -> Table:
    """The ways side by side, with the whole history."""
    scores, most = data["scores"], data["most"]
    rows: list[list[str]] = []
    for key, name in NAMES.items():
        found = key if key in scores else f"{key} {most}"
        size = f"{data['bytes'][key]:,.0f}" if key in data["bytes"] else "–"
        rows.append([name, *line(scores, found, "base"), *_more(scores, found, most), size])
    heads = headings(scores)
    return {
        "title": f"{title}: ways to answer, {most} items of each newcomer",
        "columns": [
            "way",
            *heads,
            *(f"gain over the base, {h}" for h in heads),
            f"gain of Per-Pcs over it, {heads[0]}",
            "bytes a person",
        ],
        "rows": rows,
    }


def _more(scores: Scores, found: str, most: int) -> list[str]:
    pieces = f"pieces {most}"
    if found == pieces:
        return ["–"]
    return [shown(against(scores, pieces, found, metrics(scores)[0]))]


def by_length(title: str, data: Mapping[str, Any]) -> Table:
    """Pieces beside own training at each length of history: where they win is the point."""
    scores = data["scores"]
    heads = headings(scores)
    rows = [
        [
            str(length),
            *(
                f"{fmean(of(scores, f'{way} {length}', m)):.3f}"
                for m in metrics(scores)
                for way in ("pieces", "own", "from pieces")
            ),
            *(
                shown(against(scores, f"pieces {length}", f"own {length}", m))
                for m in metrics(scores)
            ),
            shown(against(scores, f"from pieces {length}", f"own {length}", "nats")),
        ]
        for length in data["lengths"]
    ]
    base = [f"{fmean(of(scores, 'base', m)):.3f}" for m in metrics(scores)]
    return {
        "title": f"{title}: by the newcomer's last items (base: {', '.join(base)})",
        "columns": [
            "items",
            *(f"{way}, {h}" for h in heads for way in ("Per-Pcs", "OPPU", "OPPU from pieces")),
            *(f"Per-Pcs over OPPU, {h}" for h in heads),
            "from pieces over OPPU, nats",
        ],
        "rows": rows,
    }


def by_epochs(title: str, data: Mapping[str, Any]) -> Table:
    """Held-out loss by where training starts and how many steps it takes."""
    scores, most, epochs, steps = data["scores"], data["most"], data["epochs"], data["steps"]
    fresh = ["base", f"own {most}, 1 epoch", f"own {most}"]
    pieces = [f"pieces {most}", f"from pieces {most}", f"from pieces {most}, {epochs} epochs"]
    counts = [0, steps, epochs * steps]
    rows = [
        [
            f"{count}",
            scored(scores, a, "nats"),
            scored(scores, b, "nats"),
            shown(against(scores, b, a, "nats")),
        ]
        for count, a, b in zip(counts, fresh, pieces, strict=True)
    ]
    rows.append(
        [
            f"{steps} from pieces, {epochs * steps} afresh",
            scored(scores, fresh[2], "nats"),
            scored(scores, pieces[1], "nats"),
            shown(against(scores, pieces[1], fresh[2], "nats")),
        ]
    )
    return {
        "title": f"{title}: loss by steps of personal training, {most} items",
        "columns": ["steps", "afresh, nats", "from pieces, nats", "gain"],
        "rows": rows,
    }


def recent(title: str, data: Mapping[str, Any]) -> Table:
    """Assembling from the last items only."""
    scores, most = data["scores"], data["most"]
    counts = sorted({*data["recent"], *data["lengths"]})
    timed = [t["what"] for t in data["timed"]]
    rows = []
    for count in counts:
        name = f"pieces {count}"
        speed = "–"
        what = "pieces" if count == most else name
        if what in timed:
            speed = f"{median(times(data, 'exact training', what)):.0f} x"
        rows.append([str(count), *line(scores, name, f"pieces {most}"), speed])
    heads = headings(scores)
    return {
        "title": f"{title}: pieces chosen by the last items alone (`recent_k`)",
        "columns": [
            "items",
            *heads,
            *(f"against all {most}, {h}" for h in heads),
            "faster than exact training",
        ],
        "rows": rows,
    }


def tried(title: str, data: Mapping[str, Any]) -> Table:
    """One setting after another."""
    scores = data["scores"]
    heads = headings(scores)
    rows = [[name, *line(scores, name, "as it is")] for name in data["tried"]]
    return {
        "title": f"{title}: one setting changed at a time, pieces by the last {data['few']} items",
        "columns": ["changed", *heads, *(f"gain over as it is, {h}" for h in heads)],
        "rows": rows,
    }
