"""Leakage of shared artifacts, and the effect of sharing ratio, dropout and epochs on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.config import LeakageConfig
from idiolect.audit.membership import evaluate
from idiolect.audit.subject import AuditSubject
from idiolect.history.history import History
from idiolect.pieces.pool.contribution import choose_shared_modules
from idiolect.pieces.recipes.recipe import Recipe, build_adapter
from idiolect.prompts.render import Example
from idiolect.stats.significance import bootstrap_mean_interval
from idiolect.storage.files import read_json, write_json
from suites.pieces.pools import open_pool_subset
from suites.pieces.prepare import build_recipes, iter_leak_stores, select_leak_people
from suites.pieces.scoring import HeldOutScorer
from suites.pieces.settings import SEED, TRAIN
from suites.pieces.workspace import Workspace


def measure_leaks(place: Workspace) -> list[dict[str, Any]]:
    """Attack each kind of artifact; return one row per artifact.

    A row holds each sharer's AUC (1: the attack identifies all training items) and the verdicts.
    Computed once per work folder.
    """
    path = place.artifact_folder / "leaks.json"
    if path.is_file():
        return read_json(path)["rows"]
    began = time.perf_counter()
    # Losses under the bare base calibrate the attack.
    people = select_leak_people(place)
    subjects = {h.person: _make_subject(place, h) for h in people}
    parts = {person: subject.split_members() for person, subject in subjects.items()}
    asked = {person: [*inside, *outside] for person, (inside, outside) in parts.items()}
    scorer = HeldOutScorer(place.base, place.lora, asked)
    plain = _compute_mean_losses(scorer, {})
    # Attack each artifact with the same items.
    rows: list[dict[str, Any]] = []
    for name, adapters in iter_artifacts(place, people):
        found = _compute_mean_losses(scorer, adapters)
        tried = [
            evaluate(s, list(zip(plain[p], found[p], strict=True)), LeakageConfig())
            for p, s in subjects.items()
        ]
        seen = [one.calibrated for one in tried if one.calibrated is not None]
        rows.append(
            {
                "artifact": name,
                "people": len(seen),
                "auc": [one.auc for one in seen],
                "two_sided": fmean(one.two_sided for one in seen) if seen else None,
                "by_chance": fmean(one.by_chance for one in seen) if seen else None,
                "interval": bootstrap_mean_interval([s.auc for s in seen], seed=SEED)
                if seen
                else None,
                "leaks": sum(one.verdict == "leaks" for one in tried),
                "loss_in": fmean(one.loss_in or 0.0 for one in tried),
                "loss_out": fmean(one.loss_out or 0.0 for one in tried),
            }
        )
    place.record_seconds("leaks", time.perf_counter() - began, folder=place.artifact_folder)
    write_json(path, {"rows": rows})
    return rows


def iter_artifacts(
    place: Workspace, people: list[History]
) -> Iterator[tuple[str, Mapping[str, LoraAdapter]]]:
    """Yield the name and the adapters by sharer of each artifact that the attack examines.

    These are shared pieces at several ratios, whole adapters trained in other ways, and for each
    sharer the assembled adapter in which they have the largest weight.
    """
    names = [h.person for h in people]
    # What sharers contribute: pieces of a part of their modules.
    whole = place.read_adapters("adapters", names)
    paths = tuple(next(iter(whole.values())).pairs)
    for ratio in place.sizes.leak_ratios:
        kept = {
            p: choose_shared_modules(SEED, place.make_pseudonym(p), paths, ratio) for p in names
        }
        parts = {p: keep_modules(whole[p], kept[p]) for p in names}
        yield f"pieces, ratio {ratio:g}, {TRAIN.epochs} epochs", parts
    # Whole adapters that were trained with other epochs or dropout.
    for store, epochs, dropout in iter_leak_stores(place):
        more = f", dropout {dropout:g}" if dropout else ""
        yield f"whole adapter, {epochs} epochs{more}", place.read_adapters(store, names)
    # What other people receive: the assembled adapter with the most of each sharer.
    made, pool = build_recipes(place, place.sizes.longest_history), open_pool_subset(place)
    most = {
        p: max(made.values(), key=lambda r, p=p: compute_sharer_weight(r, place.make_pseudonym(p)))
        for p in names
    }
    yield (
        "assembled for the target user with the largest weight of the sharer",
        {p: build_adapter(recipe, pool) for p, recipe in most.items()},
    )


def compute_sharer_weight(recipe: Recipe, sharer: str) -> float:
    """Return the mean weight of a sharer's pieces in a recipe, over the modules."""
    if sharer not in recipe.sharers:
        return 0.0
    theirs = recipe.pick == recipe.sharers.index(sharer)
    return float(recipe.weight[theirs].sum()) / len(recipe.pick)


def keep_modules(adapter: LoraAdapter, paths: tuple[str, ...]) -> LoraAdapter:
    """Return the adapter with B set to zero in all other modules."""
    pairs = {
        path: (a, b if path in paths else torch.zeros_like(b))
        for path, (a, b) in adapter.pairs.items()
    }
    return replace(adapter, pairs=pairs)


def _make_subject(place: Workspace, history: History) -> AuditSubject:
    inside: tuple[Example, ...] = place.build_examples(history)
    return AuditSubject(
        person=history.person, members=inside, non_members=place.build_query_examples(history)
    )


def _compute_mean_losses(
    scorer: HeldOutScorer, adapters: Mapping[str, LoraAdapter]
) -> dict[str, list[float]]:
    """Return the mean loss of each item, by person."""
    out: dict[str, list[float]] = {person: [] for person in scorer.people}
    for (person, _), nats in zip(scorer.rows, scorer.compute_losses(adapters), strict=True):
        out[person].append(fmean(nats))
    return out
