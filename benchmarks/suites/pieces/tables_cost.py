"""The tables of what things cost, how pools grow, what leaks, and who takes part."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, median
from typing import Any

from kit.paired_scores import Table, compute_speedups


def build_cost_table(title: str, data: Mapping[str, Any]) -> Table:
    """Seconds and operations a person; how many times less than exact training."""
    timed = data["timed"]
    rows = []
    for what in dict.fromkeys(t["what"] for t in timed):
        own = [t for t in timed if t["what"] == what]
        faster = compute_speedups(data, "exact training", what)
        fewer = compute_speedups(data, "exact training", what, "operations")
        rows.append(
            [
                what,
                f"{fmean(t['seconds'] for t in own):.2f}",
                f"{median(faster):.1f} ({min(faster):.1f}–{max(faster):.1f})",
                f"{fmean(t['operations'] for t in own) / 1e9:,.0f}",
                f"{median(fewer):.1f}",
            ]
        )
    return {
        "title": f"{title}: what a person costs, {data['most']} items, on the same people",
        "columns": ["", "seconds", "times faster", "GFLOP", "times fewer"],
        "rows": rows,
    }


def build_growth_table(title: str, data: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{row['sharers']:,}",
            f"{row['seconds']:.2f}",
            f"{row['first']:.2f}",
            f"{row['opened']:.3f}",
            f"{row['likely']:.2f}",
            f"{row['gate_bytes'] / 1e3:,.0f}",
        ]
        for row in data["growth"]
    ]
    items = data["growth"][0]["items"]
    return {
        "title": f"{title}: one newcomer with {items} items, by sharers (made-up gates)",
        "columns": [
            "sharers",
            "seconds",
            "the first time, s",
            "of that opening, s",
            "by likelihood, s",
            "kB of gates a sharer",
        ],
        "rows": rows,
    }


def build_leak_table(title: str, data: Mapping[str, Any]) -> Table:
    rows = [
        [
            row["artifact"],
            f"{fmean(row['auc']):.2f} ({row['interval'][0]:.2f}–{row['interval'][1]:.2f})",
            f"{row['two_sided']:.2f}",
            f"{row['by_chance']:.2f}",
            f"{row['leaks']} of {row['people']}",
            f"{row['loss_in']:.3f} / {row['loss_out']:.3f}",
        ]
        for row in data["leaks"]
        if row["auc"]
    ]
    return {
        "title": f"{title}: what is given away of {data['leaks'][0]['people']} sharers",
        "columns": [
            "artifact",
            "AUC (held-in above held-out)",
            "two-sided",
            "by chance",
            "refused",
            "loss held-in / held-out",
        ],
        "rows": rows,
    }


def build_tuning_table(title: str, data: Mapping[str, Any]) -> Table:
    rows = [[name, f"{nats:.4f}"] for name, nats in data["develop"].items()]
    return {
        "title": f"{title}: gates by steps and rate, on people who take no other part",
        "columns": ["", "nats"],
        "rows": rows,
    }


def build_people_table(title: str, data: Mapping[str, Any]) -> Table:
    return {
        "title": f"{title}: who takes part",
        "columns": ["", ""],
        "rows": [[what, f"{number:,}"] for what, number in data["people"].items()],
    }
