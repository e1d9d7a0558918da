"""Draws the pictures of ``docs/pieces.md`` from ``docs/results/pieces.json``.

One picture per task: the gain over the base by length of the target user's history, and by number
of sharers.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from idiolect.storage.files import write_atomic

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from kit.paired_scores import TITLES, Scores, compare_ways, list_headings, list_metrics  # noqa: E402

WAYS = {
    "pieces": ("Per-Pcs, by gates", "#1d5fc4"),
    "likely": ("by likelihood", "#8a3fb0"),
    "own": ("OPPU, own training", "#c4471d"),
    "from likely": ("OPPU from likelihood", "#2f8f5b"),
}


def draw_picture(task: str, data: Mapping[str, Any]) -> bytes:
    """Draw both panels as PNG: gain over the base by length of history, and by sharers."""
    figure = Figure(figsize=(8.2, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    scores, lengths = data["scores"], data["lengths"]
    heading = list_headings(scores)[0]
    for way in WAYS:
        there = [n for n in lengths if f"{way} {n}" in scores]
        _draw_line(left, scores, there, [f"{way} {n}" for n in there], way)
    left.set_xscale("log")
    _style_axes(
        left, lengths, "items of the target user", f"{TITLES[task]}: gain in {heading} over base"
    )
    left.legend(frameon=False, fontsize=8)
    fewer = [n.split()[0] for n in data["tried"] if n.endswith(" sharers") and "," not in n]
    counts = [*map(int, fewer), data["people"]["sharers per strategy"]]
    _draw_line(right, scores, counts, [*(f"{n} sharers" for n in fewer), "as it is"], "pieces")
    names = [*(f"likely, {n} sharers" for n in fewer), "likely, as it is"]
    _draw_line(right, scores, counts, names, "likely")
    _style_axes(right, counts, "sharers", f"the same with {data['few']} items, assembled")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _draw_line(
    axes: Axes, scores: Scores, at: Sequence[int], names: Sequence[str], way: str
) -> None:
    """Draw paired gains with their confidence intervals."""
    label, color = WAYS[way]
    tests = [compare_ways(scores, name, "base", list_metrics(scores)[0]) for name in names]
    axes.plot(at, [test.gain for test in tests], marker="o", color=color, label=label)
    lows, highs = zip(*(test.interval for test in tests), strict=True)
    axes.fill_between(at, lows, highs, color=color, alpha=0.12, lw=0)


def _style_axes(axes: Axes, at: Sequence[int], label: str, title: str) -> None:
    axes.set_xticks(at, [str(n) for n in at], minor=False)
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dcdee3")
    axes.axhline(0, color="#6b7280", lw=1, ls=(0, (3, 3)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures, if there are results; return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the documentation folder")
    chosen = parser.parse_args(arguments)
    path = chosen.docs / "results" / "pieces.json"
    if path.is_file():
        (chosen.docs / "images").mkdir(exist_ok=True)
        for task, data in json.loads(path.read_text(encoding="utf-8"))["raw"].items():
            write_atomic(chosen.docs / "images" / f"pieces-{task}.png", draw_picture(task, data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
