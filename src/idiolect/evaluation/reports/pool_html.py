"""A pool's ``report.json`` as one page that needs no network and runs no script.

Knows the report's plain data and the template beside this file; draws heat maps, and puts what the
numbers say into sentences. Everything in a report is escaped but our own pictures and style sheets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from idiolect.evaluation.reports import text as words
from idiolect.evaluation.reports.heatmap import PHONE_WIDTH, SCREEN_WIDTH, HeatMap, render_heat_map
from idiolect.evaluation.reports.html import format_hardware

MAX_SHOWN = 60
"""Newcomers and sharers of a picture; of more, some are shown."""
MAX_IN_PANEL = 30
_PANEL_WIDTH = 352.0
_NOT_TRIED = "–"
_EVEN_FRACTION, _FEW_FRACTION = 0.75, 0.25
"""Effective sharers, of all: from which the pool is used evenly, and below which a few are."""


def render_pool_html(report: Mapping[str, Any]) -> str:
    """The whole page; deterministic."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals.update(
        amount=words.format_amount,
        duration=words.format_duration,
        share=_format_share,
        leak=_format_leakage,
        audit=_get_verdict,
        number=_format_number,
    )
    recipes = report["recipes"]
    used = recipes is not None and recipes["newcomers"] > 0
    return environment.from_string(_read_resource("pool_report.html.jinja")).render(
        report=report,
        pool=report["pool"],
        recipes=recipes,
        used=used,
        style=Markup(_read_resource("report.css") + _read_resource("pool_report.css")),
        conclusions=write_conclusions(report),
        whom=_render_both_widths(_build_newcomer_map(report)) if used else "",
        spread=_render_both_widths(_build_module_map(report)) if used else "",
        panels=[
            Markup(render_heat_map(p, width=_PANEL_WIDTH, hints=False))
            for p in _build_panels(report)
        ]
        if used
        else [],
        left_out=_describe_left_out(report) if used else "",
        most_in_panel=MAX_IN_PANEL,
        measured=any(sharer["leakage"] for sharer in report["sharers"]),
        hardware_line=format_hardware(report["hardware"]),
        versions_line=", ".join(f"{name} {v}" for name, v in report["versions"].items()),
    )


def write_conclusions(report: Mapping[str, Any]) -> list[str]:
    """What the numbers say, in sentences."""
    sharers, recipes = report["sharers"], report["recipes"]
    if not sharers:
        return ["Nobody is in this pool."]
    out: list[str] = []
    if recipes is not None and recipes["newcomers"]:
        out += _describe_usage(sharers, recipes)
    verdicts = [_get_verdict(sharer) for sharer in sharers]
    leaking, unknown = verdicts.count("leaks"), verdicts.count("not measurable")
    if set(verdicts) != {_NOT_TRIED}:
        what = f"found a leak of {_format_count(leaking, 'sharer')}" if leaking else "found no leak"
        told = ", whose pieces are here by an override" if leaking else ""
        less = f"; {_format_count(unknown, 'sharer')} had too few items to tell" if unknown else ""
        out.append(f"The audit before sharing {what}{told}{less}.")
    if recipes is not None and recipes["outdated"]:
        out.append(
            f"{_format_count(recipes['outdated'], 'recipe')} cannot be used any more, since a "
            "sharer "
            "left: assemble again."
        )
    return out


def _describe_usage(sharers: Sequence[Mapping[str, Any]], recipes: Mapping[str, Any]) -> list[str]:
    found, newcomers = recipes["effective"], recipes["newcomers"]
    part, who = found["all"] / len(sharers), _format_count(newcomers, "newcomer")
    start = f"{who} use the pool {'evenly' if part >= _EVEN_FRACTION else 'unevenly'}"
    if part < _FEW_FRACTION:
        start = f"What {who} get hangs on a few"
    one = found["newcomer"]
    idle = sum(not s["newcomers"] for s in sharers)
    first = (
        f"{start}: their adapters draw on {_format_count(len(sharers), 'sharer')} as on "
        f"{found['all']:.1f} equal ones. A single one draws on {one['median']:.1f} (median; "
        f"{one['min']:.1f} to {one['max']:.1f})."
    )
    most = sharers[0]
    second = (
        f"Sharer 1 gives most, {_format_share(most['given'])} of all weight, to "
        f"{most['newcomers']} of {_format_count(newcomers, 'newcomer')}."
    )
    if idle:
        second += f" {_format_count(idle, 'sharer')} help{'s' if idle == 1 else ''} nobody here."
    return [first, second]


def _build_newcomer_map(report: Mapping[str, Any]) -> HeatMap:
    """Newcomer by sharer: the mean weight over all modules."""
    matrix = report["recipes"]["who_helps_whom"]
    rows = _space_evenly(len(matrix), MAX_SHOWN)
    columns = range(min(len(report["sharers"]), MAX_SHOWN))
    values = [[matrix[r][c] for c in columns] for r in rows]
    return HeatMap(
        values=values,
        row_labels=[str(r + 1) for r in rows],
        column_labels=[str(c + 1) for c in columns],
        row_title="newcomer",
        column_title="sharer",
        sqrt_scale=True,
        summary=f"Heat map of {len(rows)} newcomers by {len(columns)} sharers: mean weight of each "
        f"sharer in each newcomer's adapter, at most {max(map(max, values)):.2f}.",
    )


def _build_module_map(report: Mapping[str, Any]) -> HeatMap:
    """Kind of module by layer: how many sharers it amounts to."""
    kinds, layers, by_place = _index_modules(report)
    found = [module["effective"] for module in report["recipes"]["modules"]]
    return HeatMap(
        values=[
            [by_place.get((kind, layer), {"effective": 0.0})["effective"] for layer in layers]
            for kind in kinds
        ],
        row_labels=kinds,
        column_labels=[str(layer) for layer in layers],
        row_title="module",
        column_title="layer",
        summary="Heat map of modules by layers: effective number of sharers, from "
        f"{min(found):.1f} to {max(found):.1f}.",
        min_value=1.0,
        max_row_height=26,
        decimals=1,
    )


def _build_panels(report: Mapping[str, Any]) -> list[HeatMap]:
    """For each kind of module, sharer by layer: the mean weight over newcomers."""
    kinds, layers, by_place = _index_modules(report)
    sharers = range(min(len(report["sharers"]), MAX_IN_PANEL))
    everything = [w for module in report["recipes"]["modules"] for w in module["weights"]]
    nothing = {"weights": [0.0] * len(report["sharers"])}
    return [
        HeatMap(
            values=[
                [by_place.get((kind, layer), nothing)["weights"][s] for layer in layers]
                for s in sharers
            ],
            row_labels=[str(s + 1) for s in sharers],
            column_labels=[str(layer) for layer in layers],
            row_title="sharer",
            column_title=f"{kind}, by layer",
            summary=f"Heat map of sharers by layers for {kind}: mean weight over newcomers.",
            max_value=max(everything),
            sqrt_scale=True,
            max_row_height=12,
        )
        for kind in kinds
    ]


def _index_modules(
    report: Mapping[str, Any],
) -> tuple[list[str], list[int], dict[tuple[str, int], Mapping[str, Any]]]:
    """Kinds of modules and layers in the model's order, and which module is at which."""
    modules = report["recipes"]["modules"]
    by_place = {(module["kind"], module["layer"]): module for module in modules}
    kinds = list(dict.fromkeys(kind for kind, _ in by_place))
    return kinds, sorted({layer for _, layer in by_place}), by_place


def _space_evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below ``count``, evenly apart."""
    if count <= most:
        return [*range(count)]
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


def _describe_left_out(report: Mapping[str, Any]) -> str:
    """What the pictures do not show."""
    newcomers, sharers = report["recipes"]["newcomers"], len(report["sharers"])
    parts: list[str] = []
    if newcomers > MAX_SHOWN:
        parts.append(f"{MAX_SHOWN} of {newcomers} newcomers, evenly apart in their order")
    if sharers > MAX_SHOWN:
        parts.append(f"the {MAX_SHOWN} of {sharers} sharers that give most")
    return f"Shown are {' and '.join(parts)}." if parts else ""


def _render_both_widths(heat: HeatMap) -> Markup:
    """The picture in two widths, of which the style sheet shows one."""
    wide, narrow = (
        render_heat_map(heat, width=SCREEN_WIDTH),
        render_heat_map(heat, width=PHONE_WIDTH, hints=False),
    )
    return Markup(
        '<figure><div class="screen">{}</div><div class="phone">{}</div></figure>'
    ).format(Markup(wide), Markup(narrow))


def _format_leakage(sharer: Mapping[str, Any], artifact: str) -> str:
    """``0.62 (0.50–0.71)``; a dash where it was not tried."""
    found = sharer["leakage"].get(artifact)
    if found is None:
        return "–"
    if "auc" not in found:
        return "too few items"
    return f"{found['auc']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def _get_verdict(sharer: Mapping[str, Any]) -> str:
    """The worst verdict on what others get."""
    verdicts = {sharer["leakage"].get(a, {}).get("verdict") for a in ("pieces", "assembled")}
    return next((v for v in ("leaks", "not measurable", "passed") if v in verdicts), _NOT_TRIED)


def _format_share(value: float) -> str:
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.1f}%"


def _format_number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _format_count(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def _read_resource(name: str) -> str:
    return (resources.files("idiolect.evaluation.reports") / name).read_text(encoding="utf-8")
