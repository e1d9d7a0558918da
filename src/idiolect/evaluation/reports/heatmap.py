"""Heat maps as SVG for a page: cells in one colour of the page, the stronger the larger the value.

Knows numbers and labels; the colour is a variable of the page's style sheet, so that one picture
reads well in a light page and in a dark one. No scripts, no ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SCREEN_WIDTH, PHONE_WIDTH = 740.0, 318.0
"""Widths in CSS pixels: for a screen and for a phone."""
_FONT_SIZE, _LINE_HEIGHT = 11.0, 15.0
"""Size of the labels, and the least room between two of them."""
_LEGEND_STEPS = 5
_FEW_ROWS = 8
"""Rows that have room for their labels on any screen."""


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """What one heat map shows."""

    values: Sequence[Sequence[float]]
    """[rows, columns]"""
    row_labels: Sequence[str]
    column_labels: Sequence[str]
    row_title: str
    column_title: str
    """What rows and columns are."""
    summary: str
    """The picture in words, for those who do not see it."""
    max_value: float | None = None
    """The value of the full colour; the largest one unless told."""
    min_value: float = 0.0
    """The value of no colour."""
    sqrt_scale: bool = False
    """Whether the colour grows with the square root, so that small values are seen beside large."""
    max_row_height: float = 17.0
    """Height of a row at most."""
    decimals: int = 2


def render_heat_map(heat: HeatMap, *, width: float = SCREEN_WIDTH, hints: bool = True) -> str:
    """An ``<svg>`` element; with ``hints`` a cell says its value where a pointer rests on it."""
    left = 10 + 6.9 * max([len(heat.row_title), *map(len, heat.row_labels)])
    cell = min((width - left - 2) / max(1, len(heat.column_labels)), 30.0)
    height = (
        max(5.0, min(cell, heat.max_row_height))
        if len(heat.row_labels) > _FEW_ROWS
        else heat.max_row_height
    )
    above = 2.4 * _LINE_HEIGHT
    right, bottom = left + cell * len(heat.column_labels), above + height * len(heat.row_labels)
    parts = [
        _render_text(left - 8, above - 8, heat.row_title, "end", muted=True),
        _render_text(left, above - 8 - _LINE_HEIGHT, heat.column_title, "start", muted=True),
        f'<rect x="{left:.1f}" y="{above:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - above:.1f}" fill="var(--soft)"/>',
        *_render_labels(heat, left, above, cell, height),
    ]
    gap = 1.0 if min(cell, height) >= 7 else 0.4
    parts.append('<g fill="var(--personal)">')
    for r, row in enumerate(heat.values):
        for c, value in enumerate(row):
            strength = _compute_opacity(heat, value)
            if strength < 0.005:
                continue
            hint = ""
            if hints:
                where = (
                    f"{heat.row_title} {heat.row_labels[r]}, {heat.column_title} "
                    f"{heat.column_labels[c]}"
                )
                hint = f"<title>{escape(where)}: {value:.{heat.decimals}f}</title>"
            parts.append(
                f'<rect x="{left + c * cell:.1f}" y="{above + r * height:.1f}" '
                f'width="{cell - gap:.1f}" height="{height - gap:.1f}" '
                f'fill-opacity="{strength:.2f}">{hint}</rect>'
            )
    parts += ["</g>", *_render_legend(heat, left, bottom + 14)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom + 46:.0f}" '
        f'role="img" aria-label="{escape(heat.summary)}" font-size="{_FONT_SIZE:g}">'
        f"{''.join(parts)}</svg>"
    )


def _get_max_value(heat: HeatMap) -> float:
    """The value of the full colour."""
    largest = max((max(row, default=0.0) for row in heat.values), default=0.0)
    found = heat.max_value if heat.max_value is not None else largest
    return found if found > heat.min_value else heat.min_value + 1.0


def _compute_opacity(heat: HeatMap, value: float) -> float:
    """How much of the colour a value has, from 0 to 1."""
    part = (value - heat.min_value) / (_get_max_value(heat) - heat.min_value)
    part = min(1.0, max(0.0, part))
    return math.sqrt(part) if heat.sqrt_scale else part


def _render_labels(
    heat: HeatMap, left: float, above: float, cell: float, height: float
) -> list[str]:
    """Row and column labels, so many as have room."""
    widest = 6.4 * max(map(len, heat.column_labels), default=1) + 5
    out: list[str] = []
    for c in range(0, len(heat.column_labels), math.ceil(widest / cell)):
        out.append(
            _render_text(left + (c + 0.5) * cell, above - 8, heat.column_labels[c], "middle")
        )
    for r in range(
        0, len(heat.row_labels), math.ceil(_LINE_HEIGHT / (height + 1e-9)) if height < 12 else 1
    ):
        out.append(
            _render_text(left - 8, above + (r + 0.5) * height + 3.8, heat.row_labels[r], "end")
        )
    return out


def _render_legend(heat: HeatMap, x: float, y: float) -> list[str]:
    """Five steps of the colour, and the values of every second one."""
    out: list[str] = []
    for step in range(_LEGEND_STEPS):
        strength = step / (_LEGEND_STEPS - 1)
        part = strength**2 if heat.sqrt_scale else strength
        value = heat.min_value + part * (_get_max_value(heat) - heat.min_value)
        out.append(
            f'<rect x="{x + 26 * step:.1f}" y="{y:.1f}" width="25" height="9" '
            f'fill="var(--soft)"/><rect x="{x + 26 * step:.1f}" y="{y:.1f}" width="25" '
            f'height="9" fill="var(--personal)" fill-opacity="{strength:.2f}"/>'
        )
        if step % 2 == 0:
            number = f"{value:.{heat.decimals}f}"
            out.append(_render_text(x + 26 * step + 12.5, y + 22, number, "middle", muted=True))
    return out


def _render_text(x: float, y: float, text: str, anchor: str, *, muted: bool = False) -> str:
    colour = "muted" if muted else "ink"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--{colour})">'
        f"{escape(text)}</text>"
    )
