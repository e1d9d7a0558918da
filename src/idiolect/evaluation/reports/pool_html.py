"""Renders a pool's ``report.json`` as one HTML page without network access or scripts.

Writes the conclusions as sentences and draws the heat maps. The values of a report are escaped;
only the pictures and style sheets of this package are marked as safe. In ``report.json``, target
users are called ``newcomers``.
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
"""Maximum number of target users and of sharers in the large heat map."""
MAX_IN_PANEL = 30
"""Maximum number of sharers in the heat map of one kind of module."""
_PANEL_WIDTH = 352.0
_NOT_TRIED = "–"
_EVEN_FRACTION, _FEW_FRACTION = 0.75, 0.25
"""Effective number of sharers as a fraction of all: from the first on, the page says that the pool
is used evenly; below the second, that a few sharers provide most of the weight."""


def render_pool_html(report: Mapping[str, Any]) -> str:
    """Return the page; the same report gives the same bytes."""
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
    # Without a usable recipe, there are no weights to draw.
    used = recipes is not None and recipes["newcomers"] > 0
    return environment.from_string(_read_resource("pool_report.html.jinja")).render(
        report=report,
        pool=report["pool"],
        recipes=recipes,
        used=used,
        style=Markup(_read_resource("report.css") + _read_resource("pool_report.css")),
        conclusions=write_conclusions(report),
        # The heat maps.
        user_map=_render_both_widths(_build_user_map(report)) if used else "",
        module_map=_render_both_widths(_build_module_map(report)) if used else "",
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
    """Return the conclusions from the numbers, as sentences."""
    sharers, recipes = report["sharers"], report["recipes"]
    if not sharers:
        return ["This pool has no sharers."]
    out: list[str] = []
    if recipes is not None and recipes["newcomers"]:
        out += _describe_usage(sharers, recipes)
    # The audit is mentioned only if at least one sharer was audited.
    verdicts = [_get_verdict(sharer) for sharer in sharers]
    leaking, unknown = verdicts.count("leaks"), verdicts.count("not measurable")
    if set(verdicts) != {_NOT_TRIED}:
        result = f"a leak for {_format_count(leaking, 'sharer')}" if leaking else "no leak"
        override = ", whose pieces were shared by an override" if leaking else ""
        few = f"; {_format_count(unknown, 'sharer')} had too few items to audit" if unknown else ""
        out.append(f"The audit before sharing found {result}{override}{few}.")
    if recipes is not None and recipes["outdated"]:
        out.append(
            f"{_format_count(recipes['outdated'], 'recipe')} cannot be used any more, because a "
            "sharer left the pool; run idiolect assemble again."
        )
    return out


def _describe_usage(sharers: Sequence[Mapping[str, Any]], recipes: Mapping[str, Any]) -> list[str]:
    """Say how evenly the pool is used, and who contributes most and nothing."""
    effective, count = recipes["effective"], recipes["newcomers"]
    fraction, users = effective["all"] / len(sharers), _format_count(count, "target user")
    verb = "uses" if count == 1 else "use"
    # Three levels of evenness, by the effective number of sharers as a fraction of all.
    evenness = "evenly" if fraction >= _EVEN_FRACTION else "unevenly"
    if fraction < _FEW_FRACTION:
        evenness = "very unevenly, mostly a few sharers"
    one = effective["newcomer"]
    idle = sum(not s["newcomers"] for s in sharers)
    first = (
        f"{users} {verb} the pool {evenness}: the effective number of sharers is "
        f"{effective['all']:.1f} of {len(sharers):,}; for a single target user, it is "
        f"{one['median']:.1f} (median; {one['min']:.1f} to {one['max']:.1f})."
    )
    # Sharers are sorted by weight, so the first one contributes most.
    most = sharers[0]
    second = (
        f"Sharer 1 contributes most: {_format_share(most['given'])} of the total weight, to "
        f"{most['newcomers']} of {users}."
    )
    if idle:
        second += (
            f" {_format_count(idle, 'sharer')} contribute{'s' if idle == 1 else ''} to no target "
            "user."
        )
    return [first, second]


def _build_user_map(report: Mapping[str, Any]) -> HeatMap:
    """Target users by sharers: the mean weight over all modules."""
    matrix = report["recipes"]["who_helps_whom"]
    # A sample of target users over their whole order, but the first sharers: they give most.
    rows = _space_evenly(len(matrix), MAX_SHOWN)
    columns = range(min(len(report["sharers"]), MAX_SHOWN))
    values = [[matrix[r][c] for c in columns] for r in rows]
    return HeatMap(
        values=values,
        row_labels=[str(r + 1) for r in rows],
        column_labels=[str(c + 1) for c in columns],
        row_title="target user",
        column_title="sharer",
        sqrt_scale=True,
        summary=f"Heat map of {len(rows)} target users by {len(columns)} sharers: mean weight of "
        f"each sharer in each target user's adapter, at most {max(map(max, values)):.2f}.",
    )


def _build_module_map(report: Mapping[str, Any]) -> HeatMap:
    """Kinds of modules by layers: the effective number of sharers."""
    kinds, layers, by_position = _index_modules(report)
    effective = [module["effective"] for module in report["recipes"]["modules"]]
    return HeatMap(
        values=[
            [by_position.get((kind, layer), {"effective": 0.0})["effective"] for layer in layers]
            for kind in kinds
        ],
        row_labels=kinds,
        column_labels=[str(layer) for layer in layers],
        row_title="module",
        column_title="layer",
        summary="Heat map of modules by layers: effective number of sharers, from "
        f"{min(effective):.1f} to {max(effective):.1f}.",
        min_value=1.0,
        max_row_height=26,
        decimals=1,
    )


def _build_panels(report: Mapping[str, Any]) -> list[HeatMap]:
    """For each kind of module, sharers by layers: the mean weight over target users."""
    kinds, layers, by_position = _index_modules(report)
    sharers = range(min(len(report["sharers"]), MAX_IN_PANEL))
    # One scale for all panels, so that they can be compared.
    weights = [w for module in report["recipes"]["modules"] for w in module["weights"]]
    missing = {"weights": [0.0] * len(report["sharers"])}
    return [
        HeatMap(
            values=[
                [by_position.get((kind, layer), missing)["weights"][s] for layer in layers]
                for s in sharers
            ],
            row_labels=[str(s + 1) for s in sharers],
            column_labels=[str(layer) for layer in layers],
            row_title="sharer",
            column_title=f"{kind}, by layer",
            summary=f"Heat map of sharers by layers for {kind}: mean weight over target users.",
            max_value=max(weights),
            sqrt_scale=True,
            max_row_height=12,
        )
        for kind in kinds
    ]


def _index_modules(
    report: Mapping[str, Any],
) -> tuple[list[str], list[int], dict[tuple[str, int], Mapping[str, Any]]]:
    """Return the kinds of modules, the layers, and the modules by kind and layer.

    Kinds are in the model's order.
    """
    modules = report["recipes"]["modules"]
    by_position = {(module["kind"], module["layer"]): module for module in modules}
    kinds = list(dict.fromkeys(kind for kind, _ in by_position))
    return kinds, sorted({layer for _, layer in by_position}), by_position


def _space_evenly(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the numbers below ``count``, evenly spaced."""
    if count <= most:
        return [*range(count)]
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


def _describe_left_out(report: Mapping[str, Any]) -> str:
    """Say what the large heat map leaves out; empty if nothing."""
    users, sharers = report["recipes"]["newcomers"], len(report["sharers"])
    parts: list[str] = []
    if users > MAX_SHOWN:
        parts.append(f"{MAX_SHOWN} of {users} target users, evenly spaced in their order")
    if sharers > MAX_SHOWN:
        parts.append(f"the {MAX_SHOWN} of {sharers} sharers that contribute most")
    return f"The picture shows {' and '.join(parts)}." if parts else ""


def _render_both_widths(heat: HeatMap) -> Markup:
    """Return the picture in two widths, of which the style sheet shows one."""
    # Tooltips need a pointer, so the phone version has none.
    wide, narrow = (
        render_heat_map(heat, width=SCREEN_WIDTH),
        render_heat_map(heat, width=PHONE_WIDTH, hints=False),
    )
    return Markup(
        '<figure><div class="screen">{}</div><div class="phone">{}</div></figure>'
    ).format(Markup(wide), Markup(narrow))


def _format_leakage(sharer: Mapping[str, Any], artifact: str) -> str:
    """Format the audit's AUC as ``0.62 (0.50–0.71)``; a dash if it was not measured."""
    leakage = sharer["leakage"].get(artifact)
    if leakage is None:
        return "–"
    if "auc" not in leakage:
        return "too few items"
    return f"{leakage['auc']:.2f} ({leakage['low']:.2f}–{leakage['high']:.2f})"


def _get_verdict(sharer: Mapping[str, Any]) -> str:
    """Return the worst verdict on what other people receive: pieces, and assembled adapters."""
    verdicts = {sharer["leakage"].get(a, {}).get("verdict") for a in ("pieces", "assembled")}
    # Worst first.
    return next((v for v in ("leaks", "not measurable", "passed") if v in verdicts), _NOT_TRIED)


def _format_share(value: float) -> str:
    # One decimal below 10%, judged after rounding.
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.1f}%"


def _format_number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _format_count(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def _read_resource(name: str) -> str:
    return (resources.files("idiolect.evaluation.reports") / name).read_text(encoding="utf-8")
