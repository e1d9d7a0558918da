"""Renders heat maps as SVG: all cells have one color, with an opacity that grows with the value.

The color is a CSS variable of the page, so that one picture suits the light and the dark theme. The
SVG has no scripts and no ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SCREEN_WIDTH, PHONE_WIDTH = 740.0, 318.0
"""Widths in CSS pixels for a screen and for a phone."""
_FONT_SIZE, _LINE_HEIGHT = 11.0, 15.0
"""Font size of the labels, and the minimum distance between two of them, in CSS pixels."""
_LEGEND_STEPS = 5
_FEW_ROWS = 8
"""Up to this number of rows, rows have their full height, so that all labels fit."""


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """The values and labels of one heat map."""

    values: Sequence[Sequence[float]]
    """Indexed by row, then column."""
    row_labels: Sequence[str]
    column_labels: Sequence[str]
    row_title: str
    """What a row is, e.g. ``sharer``."""
    column_title: str
    summary: str
    """The alt text."""
    max_value: float | None = None
    """The value with full opacity; the largest value if ``None``."""
    min_value: float = 0.0
    """The value with no opacity."""
    sqrt_scale: bool = False
    """Whether the opacity grows with the square root of the value, so that small values are visible
    next to large ones."""
    max_row_height: float = 17.0
    """Maximum height of a row in CSS pixels."""
    decimals: int = 2
    """Number of decimals of the values in the legend and in the hints."""


def render_heat_map(heat: HeatMap, *, width: float = SCREEN_WIDTH, hints: bool = True) -> str:
    """Return an ``<svg>`` element; ``hints``: cells show their value as a tooltip.

    Pages draw a heat map twice, for a screen and for a phone, where tooltips are of no use.
    """
    # The left margin fits the longest row label; cells share the rest of the width.
    left = 10 + 6.9 * max([len(heat.row_title), *map(len, heat.row_labels)])
    cell = min((width - left - 2) / max(1, len(heat.column_labels)), 30.0)
    height = (
        max(5.0, min(cell, heat.max_row_height))
        if len(heat.row_labels) > _FEW_ROWS
        else heat.max_row_height
    )
    # Space above the cells for the column labels and the column title.
    above = 2.4 * _LINE_HEIGHT
    right, bottom = left + cell * len(heat.column_labels), above + height * len(heat.row_labels)
    parts = [
        _render_text(left - 8, above - 8, heat.row_title, "end", muted=True),
        _render_text(left, above - 8 - _LINE_HEIGHT, heat.column_title, "start", muted=True),
        f'<rect x="{left:.1f}" y="{above:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - above:.1f}" fill="var(--soft)"/>',
        *_render_labels(heat, left, above, cell, height),
    ]
    # Cells below a visible opacity are left out: they would only make the page larger.
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
    # The legend is below the cells.
    parts += ["</g>", *_render_legend(heat, left, bottom + 14)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom + 46:.0f}" '
        f'role="img" aria-label="{escape(heat.summary)}" font-size="{_FONT_SIZE:g}">'
        f"{''.join(parts)}</svg>"
    )


def _get_max_value(heat: HeatMap) -> float:
    """Return the value with full opacity; always greater than ``min_value``."""
    largest = max((max(row, default=0.0) for row in heat.values), default=0.0)
    value = heat.max_value if heat.max_value is not None else largest
    return value if value > heat.min_value else heat.min_value + 1.0


def _compute_opacity(heat: HeatMap, value: float) -> float:
    """Return the opacity of a value, from 0 to 1."""
    part = (value - heat.min_value) / (_get_max_value(heat) - heat.min_value)
    part = min(1.0, max(0.0, part))
    return math.sqrt(part) if heat.sqrt_scale else part


def _render_labels(
    heat: HeatMap, left: float, above: float, cell: float, height: float
) -> list[str]:
    """Return row and column labels; skip labels if they would overlap."""
    # Estimates: a character is about 6.4 pixels wide.
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
    """Return five steps of opacity, with the values of every second step."""
    out: list[str] = []
    for step in range(_LEGEND_STEPS):
        strength = step / (_LEGEND_STEPS - 1)
        # The inverse of ``_compute_opacity``.
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
    color = "muted" if muted else "ink"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--{color})">'
        f"{escape(text)}</text>"
    )
