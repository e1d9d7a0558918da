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
from idiolect.evaluation.reports.heatmap import NARROW, WIDE, Heat, heat_map
from idiolect.evaluation.reports.html import hardware_line

MOST = 60
"""Newcomers and sharers of a picture; of more, some are shown."""
MOST_IN_PANEL = 30
_PANEL = 352.0
_UNTRIED = "–"
_EVEN, _FEW = 0.75, 0.25
"""Effective sharers, of all: from which the pool is used evenly, and below which a few are."""


def render_pool_html(report: Mapping[str, Any]) -> str:
    """The whole page; deterministic."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals.update(
        amount=words.amount,
        duration=words.duration,
        share=_share,
        leak=_leak,
        audit=_audit,
        number=_number,
    )
    recipes = report["recipes"]
    used = recipes is not None and recipes["newcomers"] > 0
    return environment.from_string(_resource("pool_report.html.jinja")).render(
        report=report,
        pool=report["pool"],
        recipes=recipes,
        used=used,
        style=Markup(_resource("report.css") + _resource("pool_report.css")),
        conclusions=conclusions(report),
        whom=_both(_whom(report)) if used else "",
        spread=_both(_spread(report)) if used else "",
        panels=[Markup(heat_map(p, width=_PANEL, hints=False)) for p in _panels(report)]
        if used
        else [],
        left_out=_left_out(report) if used else "",
        most_in_panel=MOST_IN_PANEL,
        measured=any(sharer["leakage"] for sharer in report["sharers"]),
        hardware_line=hardware_line(report["hardware"]),
        versions_line=", ".join(f"{name} {v}" for name, v in report["versions"].items()),
    )


def conclusions(report: Mapping[str, Any]) -> list[str]:
    """What the numbers say, in sentences."""
    sharers, recipes = report["sharers"], report["recipes"]
    if not sharers:
        return ["Nobody is in this pool."]
    out: list[str] = []
    if recipes is not None and recipes["newcomers"]:
        out += _about_use(sharers, recipes)
    verdicts = [_audit(sharer) for sharer in sharers]
    leaking, unknown = verdicts.count("leaks"), verdicts.count("not measurable")
    if set(verdicts) != {_UNTRIED}:
        what = f"found a leak of {_people(leaking, 'sharer')}" if leaking else "found no leak"
        told = ", whose pieces are here by an override" if leaking else ""
        less = f"; {_people(unknown, 'sharer')} had too few items to tell" if unknown else ""
        out.append(f"The audit before sharing {what}{told}{less}.")
    if recipes is not None and recipes["outdated"]:
        out.append(
            f"{_people(recipes['outdated'], 'recipe')} cannot be used any more, since a sharer "
            "left: assemble again."
        )
    return out


def _about_use(sharers: Sequence[Mapping[str, Any]], recipes: Mapping[str, Any]) -> list[str]:
    found, newcomers = recipes["effective"], recipes["newcomers"]
    part, who = found["all"] / len(sharers), _people(newcomers, "newcomer")
    start = f"{who} use the pool {'evenly' if part >= _EVEN else 'unevenly'}"
    if part < _FEW:
        start = f"What {who} get hangs on a few"
    one = found["newcomer"]
    idle = sum(not s["newcomers"] for s in sharers)
    first = (
        f"{start}: their adapters draw on {_people(len(sharers), 'sharer')} as on "
        f"{found['all']:.1f} equal ones. A single one draws on {one['median']:.1f} (median; "
        f"{one['min']:.1f} to {one['max']:.1f})."
    )
    most = sharers[0]
    second = (
        f"Sharer 1 gives most, {_share(most['given'])} of all weight, to "
        f"{most['newcomers']} of {_people(newcomers, 'newcomer')}."
    )
    if idle:
        second += f" {_people(idle, 'sharer')} help{'s' if idle == 1 else ''} nobody here."
    return [first, second]


def _whom(report: Mapping[str, Any]) -> Heat:
    """Newcomer by sharer: the mean weight over all modules."""
    matrix = report["recipes"]["who_helps_whom"]
    rows = _some(len(matrix), MOST)
    columns = range(min(len(report["sharers"]), MOST))
    values = [[matrix[r][c] for c in columns] for r in rows]
    return Heat(
        values=values,
        rows=[str(r + 1) for r in rows],
        columns=[str(c + 1) for c in columns],
        down="newcomer",
        across="sharer",
        rooted=True,
        summary=f"Heat map of {len(rows)} newcomers by {len(columns)} sharers: mean weight of each "
        f"sharer in each newcomer's adapter, at most {max(map(max, values)):.2f}.",
    )


def _spread(report: Mapping[str, Any]) -> Heat:
    """Kind of module by layer: how many sharers it amounts to."""
    kinds, layers, by_place = _places(report)
    found = [module["effective"] for module in report["recipes"]["modules"]]
    return Heat(
        values=[
            [by_place.get((kind, layer), {"effective": 0.0})["effective"] for layer in layers]
            for kind in kinds
        ],
        rows=kinds,
        columns=[str(layer) for layer in layers],
        down="module",
        across="layer",
        summary="Heat map of modules by layers: effective number of sharers, from "
        f"{min(found):.1f} to {max(found):.1f}.",
        bottom=1.0,
        tallest=26,
        decimals=1,
    )


def _panels(report: Mapping[str, Any]) -> list[Heat]:
    """For each kind of module, sharer by layer: the mean weight over newcomers."""
    kinds, layers, by_place = _places(report)
    sharers = range(min(len(report["sharers"]), MOST_IN_PANEL))
    everything = [w for module in report["recipes"]["modules"] for w in module["weights"]]
    nothing = {"weights": [0.0] * len(report["sharers"])}
    return [
        Heat(
            values=[
                [by_place.get((kind, layer), nothing)["weights"][s] for layer in layers]
                for s in sharers
            ],
            rows=[str(s + 1) for s in sharers],
            columns=[str(layer) for layer in layers],
            down="sharer",
            across=f"{kind}, by layer",
            summary=f"Heat map of sharers by layers for {kind}: mean weight over newcomers.",
            top=max(everything),
            rooted=True,
            tallest=12,
        )
        for kind in kinds
    ]


def _places(
    report: Mapping[str, Any],
) -> tuple[list[str], list[int], dict[tuple[str, int], Mapping[str, Any]]]:
    """Kinds of modules and layers in the model's order, and which module is at which."""
    modules = report["recipes"]["modules"]
    by_place = {(module["kind"], module["layer"]): module for module in modules}
    kinds = list(dict.fromkeys(kind for kind, _ in by_place))
    return kinds, sorted({layer for _, layer in by_place}), by_place


def _some(count: int, most: int) -> list[int]:
    """At most so many of the numbers below ``count``, evenly apart."""
    if count <= most:
        return [*range(count)]
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


def _left_out(report: Mapping[str, Any]) -> str:
    """What the pictures do not show."""
    newcomers, sharers = report["recipes"]["newcomers"], len(report["sharers"])
    parts: list[str] = []
    if newcomers > MOST:
        parts.append(f"{MOST} of {newcomers} newcomers, evenly apart in their order")
    if sharers > MOST:
        parts.append(f"the {MOST} of {sharers} sharers that give most")
    return f"Shown are {' and '.join(parts)}." if parts else ""


def _both(heat: Heat) -> Markup:
    """The picture in two widths, of which the style sheet shows one."""
    wide, narrow = heat_map(heat, width=WIDE), heat_map(heat, width=NARROW, hints=False)
    return Markup(
        '<figure><div class="screen">{}</div><div class="phone">{}</div></figure>'
    ).format(Markup(wide), Markup(narrow))


def _leak(sharer: Mapping[str, Any], artifact: str) -> str:
    """``0.62 (0.50–0.71)``; a dash where it was not tried."""
    found = sharer["leakage"].get(artifact)
    if found is None:
        return "–"
    if "auc" not in found:
        return "too few items"
    return f"{found['auc']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def _audit(sharer: Mapping[str, Any]) -> str:
    """The worst verdict on what others get."""
    verdicts = {sharer["leakage"].get(a, {}).get("verdict") for a in ("pieces", "assembled")}
    return next((v for v in ("leaks", "not measurable", "passed") if v in verdicts), _UNTRIED)


def _share(value: float) -> str:
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.1f}%"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _people(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def _resource(name: str) -> str:
    return (resources.files("idiolect.evaluation.reports") / name).read_text(encoding="utf-8")
