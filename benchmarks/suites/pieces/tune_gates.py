"""Tries steps and rates of gate training, on people with no other role."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.storage.files import read_json, write_json
from kit.time_budget import TimeBudget
from suites.pieces.prepare import train_sharers
from suites.pieces.scoring import HeldOutScorer
from suites.pieces.settings import ASSEMBLE, GATES, GATES_TRIED
from suites.pieces.workspace import Workspace

RESULT_FILE = "develop.json"
SHARER_COUNT = 8


def tune_gate_settings(place: Workspace, clock: TimeBudget) -> dict[str, Any]:
    """Measure the development users' loss with pieces of 8 sharers, for each setting of the gates.

    Also measures the bare base, and pieces drawn at random. Raises TimeIsUpError.
    """
    path = place.folder / RESULT_FILE
    kept: dict[str, Any] = read_json(path) if path.is_file() else {"rows": {}}
    train_sharers(place, clock)
    chosen = place.people.chosen["cluster"][:SHARER_COUNT]
    scorer = make_scorer(place)
    # Finished rows are in the work folder.
    if "base" not in kept["rows"]:
        kept["rows"]["base"] = fmean(scorer.score_adapters({}).nats)
    for steps, rate in GATES_TRIED:
        name = f"{steps} steps at {rate:g}"
        if name in kept["rows"]:
            continue
        config = replace(GATES, steps=steps, rate=rate)
        trained = place.train_sharer_gates("develop-gates", chosen, config, clock)
        pool = place.build_pool(place.folder / f"develop-{steps}-{rate:g}", trained)
        kept["rows"][name] = measure_loss(place, scorer, pool, ASSEMBLE)
        # Pieces drawn at random do not depend on the gates: measure them once.
        if "at random" not in kept["rows"]:
            drawn = replace(ASSEMBLE, sample=True, temperature=1e6)
            kept["rows"]["at random"] = measure_loss(place, scorer, pool, drawn)
        write_json(path, kept)
    return kept


def measure_loss(
    place: Workspace, scorer: HeldOutScorer, pool: Pool, config: AssembleConfig
) -> float:
    """Return the mean loss of the development users with pieces from a pool."""
    few = place.people.setting.few
    config = replace(config, recent_k=few, top_k=min(config.top_k, len(pool.sharers)))
    items = {h.person: place.build_examples(h) for h in place.people.development}
    recipes = assemble_recipes(place.base, pool, items, config)
    return fmean(scorer.score_adapters({r.person: build_adapter(r, pool) for r in recipes}).nats)


def make_scorer(place: Workspace) -> HeldOutScorer:
    """Return a scorer of the development users' queries."""
    asked = {h.person: place.build_query_examples(h) for h in place.people.development}
    return HeldOutScorer(place.base, place.lora, asked, choices=list_choice_ids(place))


def list_choice_ids(place: Workspace) -> list[int]:
    """Return the token of each answer, for a task with a fixed set of answers."""
    found = [place.prompter.encode_answer(choice) for choice in place.people.task.choices]
    assert all(len(ids) == 1 for ids in found)
    return [ids[0] for ids in found]
