"""Renders an evaluation's ``report.json`` as one HTML page without network access or scripts.

The values of a report are untrusted text, so the template escapes them. Only the pictures and the
style sheet of this package are marked as safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from idiolect.evaluation.reports import plots
from idiolect.evaluation.reports import text as words
from idiolect.stats.metrics import METRICS

# Labels above the verdicts.
_CONCLUSION_LABELS = {
    "ahead": "ahead",
    "behind": "behind",
    "undecided": "no difference shown",
    "too-few": "too few people",
}


def render_html(report: Mapping[str, Any]) -> str:
    """Return the page; the same report gives the same bytes."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals.update(_build_template_globals())
    # A misspelled name in the template raises an error (StrictUndefined).
    page = environment.from_string(_read_resource("report.html.jinja"))
    used = {m["name"] for task in report["tasks"] for m in task["metrics"]}
    return page.render(
        report=report,
        style=Markup(_read_resource("report.css")),
        used_metrics=[name for name in METRICS if name in used],
        hardware_line=format_hardware(report["hardware"]),
        versions_line=", ".join(f"{name} {v}" for name, v in report["versions"].items()),
    )


def _read_resource(name: str) -> str:
    return (resources.files("idiolect.evaluation.reports") / name).read_text(encoding="utf-8")


def _build_template_globals() -> dict[str, Any]:
    """Return the functions and tables that the template uses."""
    return {
        # Texts.
        "titles": {name: m.title for name, m in METRICS.items()},
        "meanings": {name: m.meaning for name, m in METRICS.items()},
        "tags": _CONCLUSION_LABELS,
        "min_people": words.MIN_PEOPLE,
        # Formats of numbers.
        "number": words.format_number,
        "signed": words.format_gain,
        "span": words.format_interval,
        "duration": words.format_duration,
        "amount": words.format_amount,
        "title": words.format_title,
        # Markup, and parts of a task.
        "dot": _render_dot,
        "picture": _render_picture,
        "deciding_tests": _select_deciding_tests,
        "is_best": _is_best,
        "css_class": _get_css_class,
        "per_person": _format_queries_per_person,
        "p_value": words.format_p_cell,
        # Adding 0.0 turns -0.0 into 0.0, which has no minus sign.
        "two": lambda value: f"{round(value, 2) + 0.0:.2f}".replace("-", "−"),
        # A line break must not separate "p" from its value.
        "unbroken": lambda text: re.sub(r"p ([<=]) ", "p\u00a0\\1\u00a0", text),
        # Whether the model wrote something else than what was parsed from it.
        "differs": lambda answer: answer["raw"].strip() not in ("", answer["text"].strip()),
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    }


def _render_dot(method: str) -> Markup:
    name = "dot personal" if words.is_personal(method) else "dot"
    return Markup('<span class="{}" aria-hidden="true"></span>').format(name)


def _render_picture(task: Mapping[str, Any], name: str) -> Markup:
    """Return the picture in two widths, of which the style sheet shows one.

    Empty if the task has no data for the picture.
    """
    if name not in plots.list_plots(task):
        return Markup("")
    screen, phone = (
        plots.render_svg(task, name, width=width)
        for width in (plots.SCREEN_WIDTH, plots.PHONE_WIDTH)
    )
    return Markup(
        '<figure><div class="screen">{}</div><div class="phone">{}</div></figure>'
    ).format(Markup(screen), Markup(phone))


def _select_deciding_tests(task: Mapping[str, Any], reference: bool) -> list[Mapping[str, Any]]:
    """Return the deciding metric's tests against the reference, or against all other methods."""
    tests = (test for test in task["paired"] if test["metric"] == task["metric"])
    return [test for test in tests if (test["against"] == task["reference"]) is reference]


def _is_best(task: Mapping[str, Any], m: Mapping[str, Any], score: Mapping[str, Any]) -> bool:
    scores = [method["scores"][m["name"]] for method in task["methods"]]
    best = max if m["direction"] == "higher" else min
    return score["score"] == best(s["score"] for s in scores if s)


def _get_css_class(test: Mapping[str, Any]) -> str:
    """Return the class that colors a gain; empty if the test proves no difference."""
    return {"ahead": "better", "behind": "worse"}.get(words.draw_conclusion(test), "")


def _format_queries_per_person(task: Mapping[str, Any]) -> str:
    counts = task["queries_per_person"]
    if counts["min"] == counts["max"]:
        return str(counts["min"])
    return f"{counts['min']}–{counts['max']}"


def format_hardware(hardware: Mapping[str, Any]) -> str:
    """Return the machine's description in one line."""
    parts = [str(hardware.get("cpu", "unknown processor"))]
    if hardware.get("cores"):
        parts.append(f"{hardware['cores']} cores")
    if hardware.get("memory_gib"):
        parts.append(f"{hardware['memory_gib']:g} GiB memory")
    parts += [str(hardware[key]) for key in ("accelerator", "system") if hardware.get(key)]
    return ", ".join(parts)
