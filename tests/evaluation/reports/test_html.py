"""The page of an evaluation report: self-contained, accessible, escaped, with theme colors."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from idiolect.evaluation.reports import plots
from idiolect.evaluation.reports.html import render_html
from idiolect.evaluation.reports.report import build_report
from idiolect.evaluation.results import Comparison
from support.fake_results import make_rating_comparison, make_reply_comparison

FEW = ("base", "person-mean", "oppu")
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Parses a page into tags and text; fails if a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def build_fake_report(*comparisons: Comparison) -> dict[str, Any]:
    return build_report(comparisons, hardware={"cpu": "<i>made-up</i>"}, versions={}, seed=0)


@pytest.fixture(scope="module")
def page() -> tuple[str, Page]:
    text = render_html(
        build_fake_report(make_rating_comparison(people=5), make_reply_comparison(people=4))
    )
    return text, Page(text)


def test_render_html_needs_no_network_or_scripts(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "url(http" not in text and "@import" not in text
    without_names = re.sub(r'xmlns(:\w+)?="[^"]+"', "", text)
    assert "http" not in without_names.replace("http-equiv", "")


def test_render_html_is_accessible(page: tuple[str, Page]) -> None:
    _, parsed = page
    assert ("html", {"lang": "en"}) in parsed.tags
    assert any(a.get("name") == "viewport" for tag, a in parsed.tags if tag == "meta")
    pictures = [a for tag, a in parsed.tags if tag == "svg"]
    assert len(pictures) == 2 * 6
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in pictures)
    assert all("scope" in a for tag, a in parsed.tags if tag == "th")
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    for _, attributes in parsed.tags:
        target = attributes.get("href") or attributes.get("xlink:href")
        assert target is None or target.removeprefix("#") in ids


def test_render_html_shows_verdicts_methods_and_samples(page: tuple[str, Page]) -> None:
    _, parsed = page
    for words in (
        "too few to conclude",
        "OPPU + retrieval",
        "person's own median",
        "Drawn at random",
    ):
        assert words in parsed.words


def test_render_html_escapes_texts_of_the_report() -> None:
    attack = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}</svg>"
    # Put markup into each text of the results, ...
    comparison = make_rating_comparison(people=3, queries=2, methods=FEW)
    runs = tuple(
        replace(
            run,
            method=run.method if run.method == "base" else run.method + attack,
            answers=tuple(
                replace(a, person=a.person + attack, prompt=attack, text=attack, raw="=" + attack)
                for a in run.answers
            ),
        )
        for run in comparison.runs
    )
    curves = tuple(replace(curve, name=attack) for curve in comparison.curves)
    evil = replace(
        comparison,
        runs=runs,
        curves=curves,
        base=attack,
        dataset=attack,
        settings={attack: attack},
    )
    # ... and none of it may become an element, an attribute or a template expression.
    text = render_html(build_fake_report(evil))
    parsed = Page(text)
    assert not {"script", "img", "i"} & {tag for tag, a in parsed.tags if "style" not in a}
    assert not any("onerror" in a for _, a in parsed.tags)
    assert "{{ 7*7 }}" in parsed.words
    assert "<i>made-up</i>" in parsed.words


def test_render_svg_uses_theme_colors_only() -> None:
    task = build_fake_report(make_rating_comparison(people=4))["tasks"][0]
    for name in plots.list_plots(task):
        drawn = plots.render_svg(task, name)
        assert "var(--" in drawn
        assert re.findall(r"(?:fill|stroke): ?(#[0-9a-f]{6})", drawn) == []
        assert "font-family" not in drawn and "DejaVu" not in drawn
        assert plots.render_png(task, name).startswith(b"\x89PNG")
    assert len(set(plots.COLORS.values())) == len(plots.COLORS)


def test_report_css_defines_all_colors_with_enough_contrast() -> None:
    from importlib import resources

    reports = resources.files("idiolect.evaluation.reports")
    css = (reports / "report.css").read_text(encoding="utf-8")
    light, dark = css.split("prefers-color-scheme: dark")[:2]
    # 4.5 and 3 are the WCAG minimums for text and for graphics.
    for theme in (light, dark.split("}\n}")[0]):
        colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", theme))
        assert plots.COLORS.keys() <= colors.keys()
        for text in ("ink", "muted", "personal", "better", "worse"):
            for ground in ("page", "card", "soft"):
                assert compute_contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
        for mark in ("plain", "c1", "c2", "c3", "c4", "c5", "c6"):
            assert compute_contrast(colors[mark], colors["card"]) >= 3, mark


def compute_contrast(one: str, other: str) -> float:
    """Return the WCAG contrast ratio of two colors."""

    def compute_luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    a, b = sorted((compute_luminance(one), compute_luminance(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def test_render_html_handles_one_person_and_one_method() -> None:
    bare = replace(make_rating_comparison(people=1, queries=1, methods=("base",)), curves=())
    Page(render_html(build_fake_report(bare)))
    assert [*plots.list_plots(build_fake_report(bare)["tasks"][0])] == ["methods"]
