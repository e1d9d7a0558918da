"""The report on a pool: numbers computed by hand, no names, and the page with its heat maps."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect import api
from idiolect.adapters.lora import LoraConfig
from idiolect.errors import MismatchError, MissingError
from idiolect.evaluation.reports.heatmap import PHONE_WIDTH, HeatMap, render_heat_map
from idiolect.evaluation.reports.pool import count_effective_sharers
from idiolect.evaluation.reports.pool_html import MAX_SHOWN, render_pool_html, write_conclusions
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.pool.contribution import Contribution
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.pieces.recipes.shard import RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from support.tiny_people import random_adapter

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))
NAMES = ("annabel", "bartholomew", "cressida", "dorothea")
PICKS = {
    "annabel": [[(0, 1.0)], [(0, 1.0)], [(0, 0.5), (1, 0.5)], [(1, 1.0)]],
    "bartholomew": [[(1, 1.0)], [(1, 1.0)], [(1, 1.0)], [(1, 1.0)]],
    "cressida": [[(2, 1.0)], [(2, 1.0)], [(2, 1.0)], [(2, 1.0)]],
}
"""By person, for each module: sharers with weights. Sharer 2 leaves the pool later."""


def write_pool_and_recipes(folder: Path, names: tuple[str, ...] = NAMES) -> tuple[Path, Path]:
    """Write a pool of two sharers and one who left, and recipes of four people."""
    base = make_tiny_base()
    pool = Pool.create(folder / "pool", base, source="tiny", task="rating", lora=LORA, settings={})
    draw = torch.Generator().manual_seed(0)
    gates = [
        {site.path: torch.randn(site.inputs, generator=draw) for site in pool.modules}
        for _ in range(3)
    ]
    # Sharer 1 was audited, and leaks.
    measured = {"held_in": 9, "held_out": 8, "items": 9}
    for artifact in ("adapter", "pieces", "assembled"):
        measured |= {f"{artifact}_{k}": v for k, v in (("auc", 0.8), ("low", 0.6), ("high", 0.9))}
        measured |= {f"{artifact}_p": 0.01, f"{artifact}_leaks": int(artifact != "assembled")}
    abouts: list[dict[str, float]] = [{}, measured, {}]
    with pool.lock_for_writing():
        pool.add_sharers(
            [
                Contribution(
                    sharer=f"{n:016x}",
                    adapter=random_adapter(base, n, LORA),
                    gates=gates[n],
                    sites=pool.sites,
                    about=abouts[n],
                )
                for n in range(3)
            ]
        )
    store = RecipeStore.create(folder / "recipes", pool, settings={"top_k": 2})
    entries = [
        (
            RecipeRecord(person=name, made_by="x", items=3, history="h"),
            make_recipe(pool, name, picks),
        )
        for name, picks in zip(names, PICKS.values(), strict=False)
    ]
    # The fourth person has no usable item, the third one only pieces of the sharer who leaves.
    unserved = RecipeRecord(person=names[3], made_by="x", served="no usable item")
    entries.append((unserved, make_recipe(pool, names[3], [[], [], [], []])))
    with store.lock_for_writing():
        store.add_recipes(entries)
    # Sharer 2 leaves after the recipes were made.
    with pool.lock_for_writing():
        pool.remove_sharers([f"{2:016x}"])
    timed = {"stage": "assemble", "people": 3, "items": 9, "tokens": 90, "seconds": 1.5}
    (folder / "recipes" / "metrics.jsonl").write_text((json.dumps(timed) + "\n") * 2)
    return pool.folder, store.folder


def make_recipe(pool: Pool, person: str, picks: list[list[tuple[int, float]]]) -> Recipe:
    used = sorted({n for pick in picks for n, _ in pick})
    pick, weight = torch.full((4, 2), -1), torch.zeros(4, 2)
    for site, theirs in enumerate(picks):
        for place, (n, w) in enumerate(theirs):
            pick[site, place], weight[site, place] = used.index(n), w
    sharers = tuple(pool.sharers[n] for n in used)
    return Recipe(person=person, sharers=sharers, pick=pick, weight=weight, aggregate="delta")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool-report")
    write_pool_and_recipes(folder)
    return folder


@pytest.fixture(scope="module")
def report(place: Path) -> dict[str, Any]:
    return api.pool_report(place / "pool", place / "report", recipes=place / "recipes")


def test_pool_report_has_numbers_computed_by_hand(place: Path, report: dict[str, Any]) -> None:
    recipes, (first, second) = report["recipes"], report["sharers"]
    assert (recipes["newcomers"], recipes["without"], recipes["outdated"]) == (2, 1, 1)
    # annabel: 2.5 of 4 modules are sharer 0's, 1.5 sharer 1's; bartholomew's are all sharer 1's.
    assert (first["sharer"], second["sharer"]) == (f"{1:016x}", f"{0:016x}")
    assert (first["given"], first["newcomers"]) == (1.375 / 2, 2)
    assert (second["given"], second["newcomers"]) == (0.625 / 2, 1)
    assert recipes["who_helps_whom"] == [[1.0, 0.0], [0.375, 0.625]]
    weights = [module["weights"] for module in recipes["modules"]]
    assert weights == [[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]
    three = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    found = [module["effective"] for module in recipes["modules"]]
    assert found == pytest.approx([2, 2, three, 1], abs=1e-3)
    shares = (1.375 / 2, 0.625 / 2)
    every = math.exp(-sum(share * math.log(share) for share in shares))
    assert recipes["effective"]["all"] == pytest.approx(every)
    assert recipes["effective"]["newcomer"]["min"] == 1
    assert [(m["layer"], m["kind"]) for m in recipes["modules"]] == [
        (0, "q_proj"), (0, "v_proj"), (1, "q_proj"), (1, "v_proj"),
    ]  # fmt: skip
    assert recipes["timed"] == {"people": 6, "items": 18, "tokens": 180, "seconds": 3.0}
    pieces = sum(path.stat().st_size for path in (place / "pool" / "pieces").iterdir())
    assert report["pool"]["bytes"]["pieces"] == pieces == first["bytes"] + second["bytes"]
    assert first["leakage"]["pieces"]["verdict"] == "leaks" and second["leakage"] == {}


def test_pool_report_writes_what_it_returns(place: Path, report: dict[str, Any]) -> None:
    assert json.loads((place / "report" / "report.json").read_text()) == report
    page = (place / "report" / "report.html").read_text()
    assert page == render_pool_html(report)
    assert {path.name for path in (place / "report").iterdir()} == {"report.json", "report.html"}


def test_pool_report_has_no_names_and_ignores_their_order(
    place: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    for path in (place / "report").iterdir():
        assert not any(name in path.read_text() for name in NAMES)
    pool, recipes = write_pool_and_recipes(tmp_path, names=NAMES[::-1])
    other = api.pool_report(pool, tmp_path / "report", recipes=recipes)
    assert other["recipes"]["who_helps_whom"] == report["recipes"]["who_helps_whom"]
    assert other["sharers"] == report["sharers"]


def test_render_pool_html_needs_no_network_or_scripts(report: dict[str, Any]) -> None:
    page = render_pool_html(report)
    assert not re.search(r"<(script|link|img|iframe|object)|@import|url\(|\bon\w+=", page)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    pictures = re.findall(r"<svg[^>]+>", page)
    assert len(pictures) == 2 * 2 + 2
    assert all('role="img"' in p and len(p.split('aria-label="')[1]) > 30 for p in pictures)
    assert all("scope=" in heading for heading in re.findall(r"<th\b[^>]*>", page))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert {*re.findall(r'aria-labelledby="([^"]+)"', page)} <= {*ids}
    assert "1.5" not in re.findall(r"time per assembly</dt><dd>([^<]+)", page)
    assert re.findall(r"time per assembly</dt><dd>([^<]+)", page) == ["0.5 s"]


def test_render_pool_html_escapes_texts(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    changed["pool"]["adapters"] = changed["sharers"][0]["sharer"] = "<b>me</b>"
    changed["recipes"]["modules"][0]["kind"] = "<i>q"
    page = render_pool_html(changed)
    assert "<b>me" not in page and "<i>q" not in page
    assert page.count("&lt;b&gt;me") == 2 and "&lt;i&gt;q" in page


def test_write_conclusions_describes_usage_audit_and_outdated_recipes(
    report: dict[str, Any],
) -> None:
    first, second, audit, outdated = write_conclusions(report)
    assert first.startswith("2 target users use the pool evenly: ") and "is 1.9 of 2;" in first
    assert second == "Sharer 1 contributes most: 69% of the total weight, to 2 of 2 target users."
    assert audit.startswith("The audit before sharing found a leak for 1 sharer, ")
    assert outdated.startswith("1 recipe cannot be used any more")
    few = copy.deepcopy(report)
    few["recipes"]["effective"]["all"] = 0.4
    few["sharers"][1]["newcomers"] = 0
    few["sharers"][0]["leakage"] = {"pieces": {"verdict": "not measurable"}}
    few["recipes"]["outdated"] = 0
    first, second, audit = write_conclusions(few)
    assert "mostly a few sharers" in first
    assert second.endswith("1 sharer contributes to no target user.")
    assert audit == ("The audit before sharing found no leak; 1 sharer had too few items to audit.")
    assert write_conclusions({"sharers": [], "recipes": None}) == ["This pool has no sharers."]


def test_pool_report_without_recipes_or_sharers(place: Path, tmp_path: Path) -> None:
    found = api.pool_report(place / "pool", tmp_path / "one")
    assert found["recipes"] is None and found["sharers"][0]["given"] is None
    page = (tmp_path / "one" / "report.html").read_text()
    assert "<svg" not in page and found["sharers"][0]["sharer"] in page
    pool, _ = write_pool_and_recipes(tmp_path / "other")
    opened = Pool.open(pool)
    with opened.lock_for_writing():
        opened.remove_sharers(opened.sharers)
    empty = api.pool_report(pool, tmp_path / "two", recipes=tmp_path / "other" / "recipes")
    assert empty["sharers"] == [] and empty["recipes"]["outdated"] == 3
    assert "This pool has no sharers." in (tmp_path / "two" / "report.html").read_text()


def test_pool_report_rejects_recipes_of_another_pool(place: Path, tmp_path: Path) -> None:
    _, recipes = write_pool_and_recipes(tmp_path / "other")
    with pytest.raises(MismatchError, match="its recipes are for the pool"):
        api.pool_report(place / "pool", tmp_path / "report", recipes=recipes)
    with pytest.raises(MissingError, match="no pool of pieces there"):
        api.pool_report(recipes, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_render_pool_html_shows_a_sample_of_many_target_users(report: dict[str, Any]) -> None:
    many = copy.deepcopy(report)
    people, sharers = 200, 70
    many["sharers"] = [dict(report["sharers"][0]) for _ in range(sharers)]
    recipes = many["recipes"]
    recipes["newcomers"] = people
    recipes["who_helps_whom"] = [[1 / sharers] * sharers for _ in range(people)]
    for module in recipes["modules"]:
        module["weights"] = [1 / sharers] * sharers
    page = render_pool_html(many)
    assert "The picture shows 60 of 200 target users, evenly spaced in their order" in page
    assert "the 60 of 70 sharers that contribute most" in page
    whom = page.split('aria-label="Heat map of 60 target users by 60 sharers')[1].split("</svg>")[0]
    assert whom.count("<title>") == MAX_SHOWN * MAX_SHOWN
    assert "target user 1, sharer 1:" in whom and "target user 200, sharer 60:" in whom


@given(st.integers(1, 9), st.integers(0, 5), st.floats(0.1, 10))
def test_count_effective_sharers_counts_equal_weights(count: int, zeros: int, size: float) -> None:
    assert count_effective_sharers(np.array([size] * count + [0.0] * zeros)) == pytest.approx(count)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_count_effective_sharers_is_between_one_and_all(weights: list[float]) -> None:
    found = count_effective_sharers(np.array(weights))
    positive = sum(weight > 0 for weight in weights)
    assert found == 0 if not positive else 1 - 1e-9 <= found <= positive + 1e-9


def read_opacities(svg: str) -> list[float]:
    """Return the opacities of the cells, without those of the legend."""
    cells = svg.split('<g fill="var(--personal)">')[1].split("</g>")[0]
    return [float(found) for found in re.findall(r'fill-opacity="([\d.]+)"', cells)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.25, 0.5, 1.0]),
        ({"sqrt_scale": True}, [0.5, 0.71, 1.0]),
        ({"max_value": 8.0}, [0.12, 0.25, 0.5]),
        ({"min_value": 1.0}, [0.33, 1.0]),
    ],
)
def test_render_heat_map_opacity_grows_with_the_value(
    options: dict[str, Any], expected: list[float]
) -> None:
    heat = HeatMap(
        values=[[1.0, 2.0], [4.0, 0.0]],
        row_labels=["r<1", "r2"],
        column_labels=["c1", "c2"],
        row_title="row",
        column_title="column",
        summary="a & b",
        **options,
    )
    svg = render_heat_map(heat)
    assert read_opacities(svg) == pytest.approx(expected, abs=0.006)
    assert 'aria-label="a &amp; b"' in svg and "r&lt;1" in svg and "r<1" not in svg
    assert "<title>row r2, column c1: 4.00</title>" in svg
    narrow = render_heat_map(heat, width=PHONE_WIDTH, hints=False)
    assert "<title>" not in narrow and read_opacities(narrow) == read_opacities(svg)
    xs = [float(x) + float(w) for x, w in re.findall(r'x="([\d.]+)"[^>]* width="([\d.]+)"', narrow)]
    assert max(xs) <= PHONE_WIDTH


def test_render_heat_map_handles_equal_values() -> None:
    nothing = HeatMap(
        values=[[0.0]],
        row_labels=["1"],
        column_labels=["1"],
        row_title="a",
        column_title="b",
        summary="s",
    )
    assert read_opacities(render_heat_map(nothing)) == []
