"""Draws the pictures of one task of a report: methods, people, training; as PNG, and as SVG.

The input is a task's entry in ``report.json``. Matplotlib's object interface is used, without the
global state of pyplot. The SVG's colors are CSS variables of the page, so that one picture suits
the light and the dark theme.
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
"""Role -> color in the light theme. All colors differ, because ``_prepare_svg`` replaces each color
by the CSS variable of its role."""

SCREEN_WIDTH, PHONE_WIDTH = 7.6, 4.0
"""Widths in inches for a screen and for a phone."""

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
"""Draws a task on axes."""


def list_plots(task: Mapping[str, Any]) -> dict[str, tuple[DrawFunction, float, str]]:
    """Return the pictures that the task has data for.

    Name -> (drawing function, height in inches, alt text).
    """
    deciding = get_metric(task["metric"]).title
    scored = [m for m in task["methods"] if m["scores"][task["metric"]]]
    pictures: dict[str, tuple[DrawFunction, float, str]] = {
        "methods": (
            _draw_methods,
            0.33 * len(scored) + 0.75,
            f"{deciding} of each method with its 95% interval: "
            + "; ".join(_describe_method(m, task["metric"]) for m in scored),
        )
    }
    # Gains of each person, if there are two methods to compare.
    test = _find_headline_test(task)
    if test is not None:
        pictures["people"] = (
            _draw_people,
            2.7,
            f"Gain in {deciding} of each person by {words.format_phrase(test['method'])} over "
            f"{words.format_phrase(test['against'])}, sorted: {test['wins']} better, "
            f"{test['ties']} the same, {test['losses']} worse.",
        )
    # Training curves, if a method was trained in this run.
    if any(curve["steps"] for curve in task["curves"]):
        pictures["training"] = (
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
    return pictures


def render_png(task: Mapping[str, Any], name: str) -> bytes:
    """Return the picture as PNG with white background and heading, at 160 dots per inch."""
    # On a white background, unlike the SVG: a PNG cannot follow the reader's theme.
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
    """Return the picture as an ``<svg>`` element for the page.

    Its ids are unique in the page; it has no fonts and no fixed size.
    """
    # The prefix also seeds the ids, so that the same data gives the same bytes.
    prefix = re.sub(r"\W", "-", f"{task['key']}-{name}-{width:g}")
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": prefix}):
        stream = io.StringIO()
        FigureCanvasSVG(_draw_figure(task, name, width)).print_svg(
            stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _prepare_svg(stream.getvalue(), prefix, list_plots(task)[name][2])


def _prepare_svg(text: str, prefix: str, label: str) -> str:
    """Turn Matplotlib's SVG document into an element that can be embedded in the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    # Several pictures share a page: prefix the ids, and the references to them.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    # The page decides font and colors.
    for role, color in COLORS.items():
        text = text.replace(color, f"var(--{role})")
    # Keep the view box, but not the fixed size; a screen reader reads the label.
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
    """Draw one row per method: score, interval and value; a dashed line marks the reference."""
    name = task["metric"]
    rows = [m for m in task["methods"] if m["scores"][name]]
    # Personal methods have another color than the others.
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
    # The first method is at the top.
    axes.set_yticks(
        range(len(rows)), [_shorten_title(m["method"]) for m in rows], color=COLORS["ink"]
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{get_metric(name).title} ({task['direction']} is better)")


def _draw_people(task: Mapping[str, Any], axes: Axes) -> None:
    """Draw one bar per person, largest gain first; a dashed line marks the mean gain."""
    test = _find_headline_test(task)
    assert test is not None
    gains = sorted(_compute_gains(task, test), reverse=True)
    positions = range(1, len(gains) + 1)
    colors = [COLORS["better"] if gain > 0 else COLORS["worse"] for gain in gains]
    # Beyond 150 people, gaps between the bars would be narrower than a pixel.
    axes.bar(positions, gains, width=0.82 if len(gains) < 150 else 1.0, color=colors)
    axes.axhline(0, color=COLORS["plain"], lw=1)
    axes.axhline(test["gain"], color=COLORS["ink"], lw=1, ls=(0, (3, 3)))
    # Write the mean above its line, or below if it is negative.
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
    """Draw the mean loss by step, one line per curve."""
    for number, curve in enumerate(c for c in task["curves"] if c["steps"]):
        # 6 colors, then the same colors dashed and dotted; a single step is drawn as a dot.
        color = COLORS[f"c{number % 6 + 1}"]
        style = ("-", "--", ":")[number // 6 % 3]
        marker = "o" if len(curve["steps"]) == 1 else None
        label = _shorten_title(curve["name"])
        axes.plot(
            curve["steps"], curve["losses"], style, marker=marker, color=color, lw=1.8, label=label
        )
    axes.grid(axis="y", lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("training step")
    axes.set_ylabel("mean loss (nats per token)")
    axes.legend(frameon=False, loc="upper right", labelcolor=COLORS["ink"])


def _shorten_title(method: str) -> str:
    """Return the method's title, cut to 26 characters."""
    title = words.format_title(method)
    return title if len(title) <= 26 else title[:25].rstrip() + "…"


def _find_headline_test(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the paired test of the task's first verdict, or ``None`` if there is no verdict."""
    for verdict in task["verdicts"]:
        for test in task["paired"]:
            if all(test[key] == verdict[key] for key in ("method", "against", "metric")):
                return test
    return None


def _compute_gains(task: Mapping[str, Any], test: Mapping[str, Any]) -> list[float]:
    """Return each person's gain, positive if the tested method is better."""
    scores = {m["method"]: m["scores"][test["metric"]] for m in task["methods"]}
    one, other = (scores[test[side]]["per_person"] for side in ("method", "against"))
    # A lower error is a gain.
    sign = 1 if get_metric(test["metric"]).direction == "higher" else -1
    return [sign * (one[person] - other[person]) for person in one]


def _describe_method(method: Mapping[str, Any], name: str) -> str:
    score = method["scores"][name]
    return (
        f"{words.format_title(method['method'])} {words.format_number(score['score'])} "
        f"({words.format_interval(score['interval'])})"
    )
