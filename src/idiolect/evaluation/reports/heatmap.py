"""Heat maps as SVG for a page: cells in one colour of the page, the stronger the larger the value.

Knows numbers and labels; the colour is a variable of the page's style sheet, so that one picture
reads well in a light page and in a dark one. No scripts, no ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDE, NARROW = 740.0, 318.0
"""Widths in CSS pixels: for a screen and for a phone."""
_TEXT, _LINE = 11.0, 15.0
"""Size of the labels, and the least room between two of them."""
_STEPS = 5
_FEW = 8
"""Rows that have room for their labels on any screen."""


@dataclass(frozen=True, kw_only=True)
class Heat:
    """What one heat map shows."""

    values: Sequence[Sequence[float]]
    """[rows, columns]"""
    rows: Sequence[str]
    columns: Sequence[str]
    down: str
    across: str
    """What rows and columns are."""
    summary: str
    """The picture in words, for those who do not see it."""
    top: float | None = None
    """The value of the full colour; the largest one unless told."""
    bottom: float = 0.0
    """The value of no colour."""
    rooted: bool = False
    """Whether the colour grows with the square root, so that small values are seen beside large."""
    tallest: float = 17.0
    """Height of a row at most."""
    decimals: int = 2


def heat_map(heat: Heat, *, width: float = WIDE, hints: bool = True) -> str:
    """An ``<svg>`` element; with ``hints`` a cell says its value where a pointer rests on it."""
    left = 10 + 6.9 * max([len(heat.down), *map(len, heat.rows)])
    cell = min((width - left - 2) / max(1, len(heat.columns)), 30.0)
    height = max(5.0, min(cell, heat.tallest)) if len(heat.rows) > _FEW else heat.tallest
    above = 2.4 * _LINE
    right, bottom = left + cell * len(heat.columns), above + height * len(heat.rows)
    parts = [
        _text(left - 8, above - 8, heat.down, "end", muted=True),
        _text(left, above - 8 - _LINE, heat.across, "start", muted=True),
        f'<rect x="{left:.1f}" y="{above:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - above:.1f}" fill="var(--soft)"/>',
        *_labels(heat, left, above, cell, height),
    ]
    gap = 1.0 if min(cell, height) >= 7 else 0.4
    parts.append('<g fill="var(--personal)">')
    for r, row in enumerate(heat.values):
        for c, value in enumerate(row):
            strength = _strength(heat, value)
            if strength < 0.005:
                continue
            hint = ""
            if hints:
                where = f"{heat.down} {heat.rows[r]}, {heat.across} {heat.columns[c]}"
                hint = f"<title>{escape(where)}: {value:.{heat.decimals}f}</title>"
            parts.append(
                f'<rect x="{left + c * cell:.1f}" y="{above + r * height:.1f}" '
                f'width="{cell - gap:.1f}" height="{height - gap:.1f}" '
                f'fill-opacity="{strength:.2f}">{hint}</rect>'
            )
    parts += ["</g>", *_legend(heat, left, bottom + 14)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom + 46:.0f}" '
        f'role="img" aria-label="{escape(heat.summary)}" font-size="{_TEXT:g}">'
        f"{''.join(parts)}</svg>"
    )


def _full(heat: Heat) -> float:
    """The value of the full colour."""
    largest = max((max(row, default=0.0) for row in heat.values), default=0.0)
    found = heat.top if heat.top is not None else largest
    return found if found > heat.bottom else heat.bottom + 1.0


def _strength(heat: Heat, value: float) -> float:
    """How much of the colour a value has, from 0 to 1."""
    part = (value - heat.bottom) / (_full(heat) - heat.bottom)
    part = min(1.0, max(0.0, part))
    return math.sqrt(part) if heat.rooted else part


def _labels(heat: Heat, left: float, above: float, cell: float, height: float) -> list[str]:
    """Row and column labels, so many as have room."""
    widest = 6.4 * max(map(len, heat.columns), default=1) + 5
    out: list[str] = []
    for c in range(0, len(heat.columns), math.ceil(widest / cell)):
        out.append(_text(left + (c + 0.5) * cell, above - 8, heat.columns[c], "middle"))
    for r in range(0, len(heat.rows), math.ceil(_LINE / (height + 1e-9)) if height < 12 else 1):
        out.append(_text(left - 8, above + (r + 0.5) * height + 3.8, heat.rows[r], "end"))
    return out


def _legend(heat: Heat, x: float, y: float) -> list[str]:
    """Five steps of the colour, and the values of every second one."""
    out: list[str] = []
    for step in range(_STEPS):
        strength = step / (_STEPS - 1)
        part = strength**2 if heat.rooted else strength
        value = heat.bottom + part * (_full(heat) - heat.bottom)
        out.append(
            f'<rect x="{x + 26 * step:.1f}" y="{y:.1f}" width="25" height="9" '
            f'fill="var(--soft)"/><rect x="{x + 26 * step:.1f}" y="{y:.1f}" width="25" '
            f'height="9" fill="var(--personal)" fill-opacity="{strength:.2f}"/>'
        )
        if step % 2 == 0:
            number = f"{value:.{heat.decimals}f}"
            out.append(_text(x + 26 * step + 12.5, y + 22, number, "middle", muted=True))
    return out


def _text(x: float, y: float, text: str, anchor: str, *, muted: bool = False) -> str:
    colour = "muted" if muted else "ink"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--{colour})">'
        f"{escape(text)}</text>"
    )
