"""What a pool of pieces holds and whom it helps, as plain data: ``report.json`` and its page.

Sharers stand in it under the pool's pseudonyms, newcomers as numbers in the order of what they were
given. Knows pools and recipes; needs no model.

Shapes: ``P`` newcomers, ``M`` modules, ``S`` sharers.
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

FloatArray = NDArray[np.float64]


def write_pool_report(pool: Path, out: Path, *, recipes: Path | None = None) -> dict[str, Any]:
    """See ``api.pool_report``."""
    opened = Pool.open(pool)
    used = _measure_usage(RecipeStore.open(recipes), opened) if recipes is not None else None
    report = json.loads(json.dumps(_build_report(opened, used), allow_nan=False))
    write_atomic(out / "report.html", render_pool_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "report.json", text + "\n")
    return report


@dataclass(frozen=True, kw_only=True)
class PoolUsage:
    """Whose pieces a store of recipes uses, and how much."""

    newcomer_weights: FloatArray
    """Mean weight over modules of each sharer in each newcomer's adapter [P, S]."""
    module_weights: FloatArray
    """Mean weight over newcomers of each sharer in each module [M, S]."""
    without_recipe: int
    """People in the store whom the base serves."""
    outdated: int
    """Recipes that cannot be used any more: they name a sharer who left."""
    bytes: int
    timings: Mapping[str, float]
    """``people``, ``items``, ``tokens`` and ``seconds`` of assembling, where they were kept."""
    settings: Mapping[str, Any]


def _measure_usage(store: RecipeStore, pool: Pool) -> PoolUsage:
    """Read every recipe once. Raises MismatchError for recipes of another pool."""
    store.require_pool(pool)
    place = {sharer: n for n, sharer in enumerate(pool.sharers)}
    modules = np.zeros((len(pool.sites), len(place)))
    newcomers: list[FloatArray] = []
    without = outdated = 0
    for person in store.people:
        recipe, record = store.load_recipe(person), store.get_record(person)
        assert recipe is not None and record is not None
        if not set(recipe.sharers) <= place.keys() or record.served == "withdrawn":
            outdated += 1
            continue
        if not recipe.sharers:
            without += 1
            continue
        own = np.zeros_like(modules)
        pick, weight = recipe.pick.numpy(), recipe.weight.double().numpy()
        at, rank = np.nonzero(pick >= 0)
        number = np.array([place[sharer] for sharer in recipe.sharers])
        np.add.at(own, (at, number[pick[at, rank]]), weight[at, rank])
        modules += own
        newcomers.append(own.mean(axis=0))
    return PoolUsage(
        newcomer_weights=np.array(newcomers) if newcomers else np.zeros((0, len(place))),
        module_weights=modules / max(1, len(newcomers)),
        without_recipe=without,
        outdated=outdated,
        bytes=_count_bytes(store.folder / "shards"),
        timings=_sum_timings(store.folder / "metrics.jsonl"),
        settings=store.settings,
    )


def _build_report(pool: Pool, used: PoolUsage | None) -> dict[str, Any]:
    given = used.newcomer_weights.mean(axis=0) if used and len(used.newcomer_weights) else None
    helped = (used.newcomer_weights > 0).sum(axis=0) if used else None
    order = [*range(len(pool.sharers))]
    if given is not None:
        order.sort(key=lambda n: -given[n])
    return {
        "format": FORMAT,
        "version": VERSION,
        "hardware": describe_hardware(),
        "versions": list_versions(),
        "pool": {
            "id": pool.id,
            "task": pool.task,
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
                "pieces": len(pool.list_shared_sites(pool.sharers[n])),
                "bytes": (pool.folder / "pieces" / f"{pool.sharers[n]}.safetensors").stat().st_size,
                "about": dict(pool.get_record(pool.sharers[n]).about),
                "leakage": describe_leakage(pool.get_record(pool.sharers[n]).about),
                "given": None if given is None else round(float(given[n]), _DECIMALS),
                "newcomers": None if helped is None else int(helped[n]),
            }
            for n in order
        ],
        "recipes": _describe_recipes(pool, used, order) if used is not None else None,
    }


def _describe_recipes(pool: Pool, used: PoolUsage, order: list[int]) -> dict[str, Any]:
    newcomers, modules = used.newcomer_weights[:, order], used.module_weights[:, order]
    alike = sorted(range(len(newcomers)), key=lambda p: _get_sort_key(newcomers[p]))
    found = [count_effective_sharers(row) for row in newcomers]
    return {
        "newcomers": len(newcomers),
        "without": used.without_recipe,
        "outdated": used.outdated,
        "settings": dict(used.settings),
        "bytes": used.bytes,
        "seconds": used.timings.get("seconds"),
        "timed": dict(used.timings),
        "effective": {
            "all": count_effective_sharers(newcomers.sum(axis=0)),
            "newcomer": _summarize_values(found),
            "module": _summarize_values([count_effective_sharers(row) for row in modules]),
        },
        "who_helps_whom": _round_matrix(newcomers[alike]),
        "modules": [
            {
                "path": path,
                "layer": _parse_layer(path),
                "kind": path.rsplit(".", 1)[-1],
                "effective": round(count_effective_sharers(row), 3),
                "weights": [round(float(value), _DECIMALS) for value in row],
            }
            for path, row in zip(pool.sites, modules, strict=True)
        ],
    }


def count_effective_sharers(weights: FloatArray) -> float:
    """How many sharers these weights [S] amount to: exp of their entropy; 0 where all are zero."""
    total = weights.sum()
    if total <= 0:
        return 0.0
    shares = weights / total
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _get_sort_key(row: FloatArray) -> tuple[float, ...]:
    """Sorts newcomers by whom they have most of, and by how much; never by who they are."""
    return (float(row.argmax()), -float(row.max()), *row.tolist())


def _summarize_values(values: list[float]) -> dict[str, float] | None:
    """Least, middle and largest; ``None`` of nothing."""
    if not values:
        return None
    return {
        "min": round(min(values), 3),
        "median": round(float(np.median(values)), 3),
        "max": round(max(values), 3),
    }


def _parse_layer(path: str) -> int:
    """The number in a module's path, counted from 0; -1 without one."""
    return next((int(part) for part in path.split(".") if part.isdigit()), -1)


def _round_matrix(matrix: FloatArray) -> list[list[float]]:
    return [[round(float(value), _DECIMALS) for value in row] for row in matrix]


def _count_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sum_timings(path: Path) -> dict[str, float]:
    """What ``assemble`` measured of its work, summed over its runs."""
    out: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        values = json.loads(line)
        if values.get("stage") == "assemble":
            for name in ("people", "items", "tokens", "seconds"):
                out[name] = out.get(name, 0) + values[name]
    return out
