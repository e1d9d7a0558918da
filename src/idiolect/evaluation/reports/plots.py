"""Pictures of one task of a report: methods, people, training; as PNG and as SVG for the page.

Knows a task's plain data as in ``report.json``; draws with Matplotlib's object interface only, so
nothing global is left behind. The SVG's colours are CSS variables of the page, so that one picture
reads well in a light and in a dark one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from idiolect.evaluation.reports import text as words
from idiolect.stats.metrics import get_metric

COLORS: Mapping[str, str] = MappingProxyType(
    {
        "ink": "#1b1e24",
        "muted": "#5b616c",
        "line": "#dcdee3",
        "plain": "#767c88",
        "personal": "#1d5fc4",
        "better": "#2a6cb3",
        "worse": "#a84f08",
        "c1": "#1d5fc5",
        "c2": "#a84f09",
        "c3": "#0b7a68",
        "c4": "#8a3fa8",
        "c5": "#9c6a00",
        "c6": "#b3274f",
    }
)
"""Role -> light colour. Every role has a colour of its own, for it is found again in the SVG."""

SCREEN_WIDTH, PHONE_WIDTH = 7.6, 4.0
"""Widths in inches: for a screen and for a phone."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["muted"],
    "axes.edgecolor": COLORS["line"],
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "grid.color": COLORS["line"],
}

DrawFunction = Callable[[Mapping[str, Any], Axes], None]


def list_plots(task: Mapping[str, Any]) -> dict[str, tuple[DrawFunction, float, str]]:
    """What can be drawn of a task: name -> (how, height in inches, what it shows in words)."""
    deciding = get_metric(task["metric"]).title
    scored = [m for m in task["methods"] if m["scores"][task["metric"]]]
    found: dict[str, tuple[DrawFunction, float, str]] = {
        "methods": (
            _draw_methods,
            0.33 * len(scored) + 0.75,
            f"{deciding} of each method with its 95% interval: "
            + "; ".join(_describe_method(m, task["metric"]) for m in scored),
        )
    }
    test = _find_headline_test(task)
    if test is not None:
        found["people"] = (
            _draw_people,
            2.7,
            f"Gain in {deciding} of each person by {words.format_phrase(test['method'])} over "
            f"{words.format_phrase(test['against'])}, sorted: {test['wins']} better, "
            f"{test['ties']} "
            f"the same, {test['losses']} worse.",
        )
    if any(curve["steps"] for curve in task["curves"]):
        found["training"] = (
            _draw_training,
            2.7,
            "Training loss by step: "
            + "; ".join(
                f"{words.format_title(c['name'])} from {words.format_number(c['losses'][0])} to "
                f"{words.format_number(c['losses'][-1])}"
                for c in task["curves"]
                if c["steps"]
            ),
        )
    return found


def render_png(task: Mapping[str, Any], name: str) -> bytes:
    """The picture on white with a heading, at 160 dots an inch."""
    with matplotlib.rc_context(_STYLE):
        figure = _draw_figure(task, name, SCREEN_WIDTH)
        figure.set_facecolor("white")
        figure.set_dpi(160)
        heading = f"{task['title'].capitalize()}, {task['people']} people"
        figure.suptitle(heading, x=0.01, ha="left", weight="bold", size=11)
        stream = io.BytesIO()
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def render_svg(task: Mapping[str, Any], name: str, *, width: float = SCREEN_WIDTH) -> str:
    """The picture as an ``<svg>`` element for the page: its own ids, no fonts, no fixed size."""
    prefix = re.sub(r"\W", "-", f"{task['key']}-{name}-{width:g}")
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": prefix}):
        stream = io.StringIO()
        FigureCanvasSVG(_draw_figure(task, name, width)).print_svg(
            stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _prepare_svg(stream.getvalue(), prefix, list_plots(task)[name][2])


def _prepare_svg(text: str, prefix: str, label: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for role, colour in COLORS.items():
        text = text.replace(colour, f"var(--{role})")
    box = re.search(r'viewBox="[^"]+"', text)
    assert box is not None
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box[0]} role="img" aria-label="{escape(label)}">'
    )
    return head + text[text.index(">") + 1 :]


def _draw_figure(task: Mapping[str, Any], name: str, width: float) -> Figure:
    draw, height, _ = list_plots(task)[name]
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    draw(task, axes)
    return figure


def _draw_methods(task: Mapping[str, Any], axes: Axes) -> None:
    """One row a method: dot, interval, value; a line down from the reference."""
    name = task["metric"]
    rows = [m for m in task["methods"] if m["scores"][name]]
    for row, method in enumerate(rows):
        score = method["scores"][name]
        role = "personal" if words.is_personal(method["method"]) else "plain"
        axes.plot(score["interval"], [row, row], color=COLORS[role], lw=2.2, solid_capstyle="round")
        axes.plot(score["score"], row, "o", color=COLORS[role], ms=7)
        axes.text(
            1.02, row, words.format_number(score["score"]), transform=axes.get_yaxis_transform(),
            va="center", color=COLORS["ink"],
        )  # fmt: skip
        if method["method"] == task["reference"]:
            axes.axvline(score["score"], color=COLORS["plain"], lw=1, ls=(0, (3, 3)), zorder=0)
    axes.set_yticks(
        range(len(rows)), [_shorten_title(m["method"]) for m in rows], color=COLORS["ink"]
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{get_metric(name).title} ({task['direction']} is better)")


def _draw_people(task: Mapping[str, Any], axes: Axes) -> None:
    """One bar a person, largest gain first, with the mean gain as a line."""
    test = _find_headline_test(task)
    assert test is not None
    gains = sorted(_compute_gains(task, test), reverse=True)
    places = range(1, len(gains) + 1)
    colours = [COLORS["better"] if gain > 0 else COLORS["worse"] for gain in gains]
    axes.bar(places, gains, width=0.82 if len(gains) < 150 else 1.0, color=colours)
    axes.axhline(0, color=COLORS["plain"], lw=1)
    axes.axhline(test["gain"], color=COLORS["ink"], lw=1, ls=(0, (3, 3)))
    axes.annotate(
        f"mean {words.format_gain(test['gain'])}", (1, test["gain"]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3 if test["gain"] >= 0 else -3), textcoords="offset points", ha="right",
        va="bottom" if test["gain"] >= 0 else "top",
    )  # fmt: skip
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0.4, len(gains) + 0.6)
    axes.set_xticks([])
    axes.margins(y=0.07)
    axes.grid(axis="y", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        f"{_shorten_title(test['method'])} against "
        f"{_shorten_title(test['against'])}:\n{test['wins']} better, "
        f"{test['ties']} the same, {test['losses']} worse"
    )
    axes.set_ylabel(f"gain in {get_metric(test['metric']).title}")


def _draw_training(task: Mapping[str, Any], axes: Axes) -> None:
    """Mean loss by step, one line a curve."""
    for place, curve in enumerate(c for c in task["curves"] if c["steps"]):
        colour = COLORS[f"c{place % 6 + 1}"]
        style = ("-", "--", ":")[place // 6 % 3]
        alone = "o" if len(curve["steps"]) == 1 else None
        label = _shorten_title(curve["name"])
        axes.plot(
            curve["steps"], curve["losses"], style, marker=alone, color=colour, lw=1.8, label=label
        )
    axes.grid(axis="y", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("training step")
    axes.set_ylabel("mean loss (nats a token)")
    axes.legend(frameon=False, loc="upper right", labelcolor=COLORS["ink"])


def _shorten_title(method: str) -> str:
    """A title that leaves room for the picture."""
    title = words.format_title(method)
    return title if len(title) <= 26 else title[:25].rstrip() + "…"


def _find_headline_test(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The paired test that the task's first verdict is about."""
    for verdict in task["verdicts"]:
        for test in task["paired"]:
            if all(test[key] == verdict[key] for key in ("method", "against", "metric")):
                return test
    return None


def _compute_gains(task: Mapping[str, Any], test: Mapping[str, Any]) -> list[float]:
    scores = {m["method"]: m["scores"][test["metric"]] for m in task["methods"]}
    one, other = (scores[test[side]]["per_person"] for side in ("method", "against"))
    sign = 1 if get_metric(test["metric"]).direction == "higher" else -1
    return [sign * (one[person] - other[person]) for person in one]


def _describe_method(method: Mapping[str, Any], name: str) -> str:
    score = method["scores"][name]
    return (
        f"{words.format_title(method['method'])} {words.format_number(score['score'])} "
        f"({words.format_interval(score['interval'])})"
    )
