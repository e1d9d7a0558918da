"""Builds and writes the report on a pool: its contents, and which sharers help which target users.

Sharers appear under the pool's pseudonyms. Target users appear as numbers, in an order that depends
on their recipes only. Needs pools and recipes, but no model. In ``report.json``, target users are
called ``newcomers``.

Shapes: ``P`` target users, ``M`` modules, ``S`` sharers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.evaluation.reports.pool_html import render_pool_html
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.sharing.leakage import describe_leakage
from idiolect.storage.files import write_atomic

FORMAT = "idiolect-pool-report"
VERSION = 1
_DECIMALS = 5
"""Decimals of the weights in ``report.json``."""

FloatArray = NDArray[np.float64]


def write_pool_report(pool: Path, out: Path, *, recipes: Path | None = None) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` to ``out``; see ``api.pool_report``."""
    opened = Pool.open(pool)
    usage = _measure_usage(RecipeStore.open(recipes), opened) if recipes is not None else None
    # Convert to JSON and back: the returned value equals what a reader of the file gets.
    report = json.loads(json.dumps(_build_report(opened, usage), allow_nan=False))
    write_atomic(out / "report.html", render_pool_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "report.json", text + "\n")
    return report


@dataclass(frozen=True, kw_only=True)
class PoolUsage:
    """How much the recipes of a store use each sharer's pieces."""

    user_weights: FloatArray
    """[P, S]: weight of each sharer in each target user's adapter, mean over modules."""
    module_weights: FloatArray
    """[M, S]: weight of each sharer in each module, mean over target users."""
    without_recipe: int
    """Number of people without usable items; the base serves them."""
    outdated: int
    """Number of recipes that cannot be used any more: they use pieces of a sharer who left."""
    bytes: int
    """Size of all recipes on disk."""
    timings: Mapping[str, float]
    """``people``, ``items``, ``tokens`` and ``seconds`` of the assembly; empty if not recorded."""
    settings: Mapping[str, Any]
    """Settings of the assembly."""


def _measure_usage(store: RecipeStore, pool: Pool) -> PoolUsage:
    """Read all recipes, one at a time. Raises MismatchError if they are of another pool."""
    store.require_pool(pool)
    column = {sharer: n for n, sharer in enumerate(pool.sharers)}
    sum_MS = np.zeros((len(pool.sites), len(column)))
    rows: list[FloatArray] = []
    without = outdated = 0
    for person in store.people:
        recipe, record = store.load_recipe(person), store.get_record(person)
        assert recipe is not None and record is not None
        # A sharer who left has no column, and the recipe has to be assembled again.
        if not set(recipe.sharers) <= column.keys() or record.served == "withdrawn":
            outdated += 1
            continue
        # No usable item: the base serves this person.
        if not recipe.sharers:
            without += 1
            continue
        # A recipe has, for each module, picks (indexes into its own list of sharers, -1 for none)
        # with weights. Add each weight to the pool's column of that sharer; ``add.at`` also adds
        # up repeated indexes.
        own_MS = np.zeros_like(sum_MS)
        pick, weight = recipe.pick.numpy(), recipe.weight.double().numpy()
        module, rank = np.nonzero(pick >= 0)
        columns = np.array([column[sharer] for sharer in recipe.sharers])
        np.add.at(own_MS, (module, columns[pick[module, rank]]), weight[module, rank])
        sum_MS += own_MS
        rows.append(own_MS.mean(axis=0))
    return PoolUsage(
        user_weights=np.array(rows) if rows else np.zeros((0, len(column))),
        module_weights=sum_MS / max(1, len(rows)),
        without_recipe=without,
        outdated=outdated,
        bytes=_count_bytes(store.folder / "shards"),
        timings=_sum_timings(store.folder / "metrics.jsonl"),
        settings=store.settings,
    )


def _build_report(pool: Pool, usage: PoolUsage | None) -> dict[str, Any]:
    """Return the content of ``report.json``; ``usage``: of the recipes, if there are any."""
    given_S = usage.user_weights.mean(axis=0) if usage and len(usage.user_weights) else None
    helped_S = (usage.user_weights > 0).sum(axis=0) if usage else None
    # Sharers by descending weight; without recipes in the order in which they joined.
    order = [*range(len(pool.sharers))]
    if given_S is not None:
        order.sort(key=lambda n: -given_S[n])
    # The pool itself, its sharers, then the recipes.
    return {
        "format": FORMAT,
        "version": VERSION,
        "hardware": describe_hardware(),
        "versions": list_versions(),
        "pool": {
            "id": pool.id,
            "task": pool.task,
            # A prefix of the base's hash is enough to compare bases.
            "base": pool.base[:12],
            "adapters": pool.lora.description,
            "sharers": len(pool.sharers),
            "modules": len(pool.sites),
            "bytes": {
                "gates": _count_bytes(pool.folder / "segments"),
                "pieces": _count_bytes(pool.folder / "pieces"),
            },
        },
        "sharers": [
            {
                "sharer": pool.sharers[n],
                "pieces": len(pool.list_shared_modules(pool.sharers[n])),
                "bytes": (pool.folder / "pieces" / f"{pool.sharers[n]}.safetensors").stat().st_size,
                "about": dict(pool.get_record(pool.sharers[n]).about),
                "leakage": describe_leakage(pool.get_record(pool.sharers[n]).about),
                "given": None if given_S is None else round(float(given_S[n]), _DECIMALS),
                "newcomers": None if helped_S is None else int(helped_S[n]),
            }
            for n in order
        ],
        "recipes": _describe_recipes(pool, usage, order) if usage is not None else None,
    }


def _describe_recipes(pool: Pool, usage: PoolUsage, order: list[int]) -> dict[str, Any]:
    """Return the report's entry on the recipes; ``order``: the sharers' order in the report."""
    weights_PS, weights_MS = usage.user_weights[:, order], usage.module_weights[:, order]
    # Sort target users by their weights, so that their place says nothing about who they are.
    users = sorted(range(len(weights_PS)), key=lambda p: _get_sort_key(weights_PS[p]))
    effective_P = [count_effective_sharers(row) for row in weights_PS]
    return {
        "newcomers": len(weights_PS),
        "without": usage.without_recipe,
        "outdated": usage.outdated,
        "settings": dict(usage.settings),
        "bytes": usage.bytes,
        "seconds": usage.timings.get("seconds"),
        "timed": dict(usage.timings),
        # Effective numbers of sharers: for all target users together, for one, and for a module.
        "effective": {
            "all": count_effective_sharers(weights_PS.sum(axis=0)),
            "newcomer": _summarize_values(effective_P),
            "module": _summarize_values([count_effective_sharers(row) for row in weights_MS]),
        },
        "who_helps_whom": [
            [round(float(value), _DECIMALS) for value in row] for row in weights_PS[users]
        ],
        "modules": [
            {
                "path": path,
                "layer": _parse_layer(path),
                "kind": path.rsplit(".", 1)[-1],
                "effective": round(count_effective_sharers(row), 3),
                "weights": [round(float(value), _DECIMALS) for value in row],
            }
            for path, row in zip(pool.sites, weights_MS, strict=True)
        ],
    }


def count_effective_sharers(weights_S: FloatArray) -> float:
    """Return the effective number of sharers: exp of the entropy of the weights [S].

    n equal weights give n; zero if all weights are zero.
    """
    total = weights_S.sum()
    if total <= 0:
        return 0.0
    shares = weights_S / total
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _get_sort_key(row_S: FloatArray) -> tuple[float, ...]:
    """Return a key that sorts target users by their main sharer, then by its weight."""
    return (float(row_S.argmax()), -float(row_S.max()), *row_S.tolist())


def _summarize_values(values: list[float]) -> dict[str, float] | None:
    """Return minimum, median and maximum; ``None`` if there are no values."""
    if not values:
        return None
    return {
        "min": round(min(values), 3),
        "median": round(float(np.median(values)), 3),
        "max": round(max(values), 3),
    }


def _parse_layer(path: str) -> int:
    """Return the layer's number in a module's path, from 0; -1 if there is none."""
    return next((int(part) for part in path.split(".") if part.isdigit()), -1)


def _count_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sum_timings(path: Path) -> dict[str, float]:
    """Return people, items, tokens and seconds of ``assemble``, summed over its runs."""
    out: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        values = json.loads(line)
        if values.get("stage") == "assemble":
            for name in ("people", "items", "tokens", "seconds"):
                out[name] = out.get(name, 0) + values[name]
    return out
