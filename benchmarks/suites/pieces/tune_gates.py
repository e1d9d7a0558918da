"""Steps and rate of the gates, measured on people who take no other part."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

from idiolect.pieces.assembly.by_gates import assemble
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import materialise
from idiolect.storage.files import read_json, write_json
from kit.time_budget import Clock
from suites.pieces.prepare import sharers
from suites.pieces.scoring import Scorer
from suites.pieces.settings import ASSEMBLE, GATES, GATES_TRIED
from suites.pieces.workspace import Place

RESULT = "develop.json"
SHARERS = 8


def develop(place: Place, clock: Clock) -> dict[str, Any]:
    """Development newcomers' losses with pieces of 8 sharers, gates trained in several ways.

    Beside them the bare base, and pieces drawn at random. Raises TimeIsUpError.
    """
    path = place.folder / RESULT
    kept: dict[str, Any] = read_json(path) if path.is_file() else {"rows": {}}
    sharers(place, clock)
    chosen = place.people.chosen["cluster"][:SHARERS]
    scorer = scorer_of(place)
    if "base" not in kept["rows"]:
        kept["rows"]["base"] = fmean(scorer.score({}).nats)
    for steps, rate in GATES_TRIED:
        name = f"{steps} steps at {rate:g}"
        if name in kept["rows"]:
            continue
        config = replace(GATES, steps=steps, rate=rate)
        trained = place.gates("develop-gates", chosen, config, clock)
        pool = place.pool(place.folder / f"develop-{steps}-{rate:g}", trained)
        kept["rows"][name] = nats(place, scorer, pool, ASSEMBLE)
        if "at random" not in kept["rows"]:
            drawn = replace(ASSEMBLE, sample=True, temperature=1e6)
            kept["rows"]["at random"] = nats(place, scorer, pool, drawn)
        write_json(path, kept)
    return kept


def nats(place: Place, scorer: Scorer, pool: Pool, config: AssembleConfig) -> float:
    """Development newcomers' mean loss with pieces from a pool."""
    few = place.people.setting.few
    config = replace(config, recent_k=few, top_k=min(config.top_k, len(pool.sharers)))
    items = {h.person: place.examples(h) for h in place.people.development}
    recipes = assemble(place.base, pool, items, config)
    return fmean(scorer.score({r.person: materialise(r, pool) for r in recipes}).nats)


def scorer_of(place: Place) -> Scorer:
    """Development newcomers' queries."""
    asked = {h.person: place.asked(h) for h in place.people.development}
    return Scorer(place.base, place.lora, asked, choices=choices(place))


def choices(place: Place) -> list[int]:
    """The token of each answer of a task with few answers."""
    found = [place.prompter.answer_ids(choice) for choice in place.people.task.choices]
    assert all(len(ids) == 1 for ids in found)
    return [ids[0] for ids in found]
