"""Target users' recipes by likelihood, at several lengths of history.

The losses under all sharers' adapters are computed once. They add up over items, so those of a
longer history continue from a shorter one. Recipes from fewer sharers or with other weights use the
same losses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.pieces.assembly.by_likelihood import (
    LIKELIHOOD_FORWARD_TOKENS,
    LikelihoodMixture,
    recipe_from_nll,
)
from idiolect.pieces.assembly.target_users import TargetUser
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe, build_adapter
from idiolect.prompts.render import Example
from idiolect.storage.files import read_json, write_json
from kit.time_budget import TimeBudget, iter_groups
from suites.pieces.pools import open_pool_subset
from suites.pieces.settings import BY_LIKELIHOOD
from suites.pieces.workspace import Workspace

PEOPLE_PER_GROUP = 2
"""Losses are saved after each group, so that an interrupted run repeats at most one."""

Losses = dict[str, dict[int, Tensor]]
"""By target user and length: loss on the last items under the base and each sharer [1 + C]."""


def select_lengths(place: Workspace) -> tuple[int, ...]:
    """Return the lengths of history that recipes are made for by likelihood."""
    most = place.people.setting.likely
    return tuple(length for length in place.sizes.lengths if length <= most)


def compute_losses(place: Workspace, clock: TimeBudget | None = None) -> Losses:
    """Return the losses of all target users; computes only those that the work folder lacks.

    Raises TimeIsUpError.
    """
    path = place.artifact_folder / "likely.json"
    kept: dict[str, dict[str, list[float]]] = read_json(path) if path.is_file() else {}
    waiting = [h for h in place.people.target_users if h.person not in kept]
    if waiting:
        pool = open_pool_subset(place)
        asking = LikelihoodMixture(
            place.base, pool, BY_LIKELIHOOD, forward_tokens=LIKELIHOOD_FORWARD_TOKENS
        )
        for group in iter_groups(clock, waiting, PEOPLE_PER_GROUP):
            with prepack_linear(place.base.model):
                for history in group:
                    found = _sum_by_length(
                        asking, place.build_examples(history), select_lengths(place)
                    )
                    kept[history.person] = {str(n): nats.tolist() for n, nats in found.items()}
            write_json(path, kept)
    return {
        person: {int(n): torch.tensor(nats, dtype=torch.float64) for n, nats in found.items()}
        for person, found in kept.items()
    }


def _sum_by_length(
    asking: LikelihoodMixture, examples: Sequence[Example], wanted: Sequence[int]
) -> dict[int, Tensor]:
    """Return the losses on the last items [1 + C], for each number of items."""
    out: dict[int, Tensor] = {}
    total, done = torch.zeros(1 + len(asking.candidates), dtype=torch.float64), 0
    # From the shortest to the longest history, each adds the items before the previous one.
    for length in sorted(wanted):
        some = tuple(examples[-length : len(examples) - done])
        if some:
            total = total + asking.compute_nll(TargetUser("", some))
        out[length], done = total, length
    return out


def build_recipes(
    place: Workspace,
    length: int,
    *,
    clock: TimeBudget | None = None,
    sharers: int = 0,
    config: AssembleConfig = BY_LIKELIHOOD,
) -> dict[str, Recipe]:
    """Return target users' recipes from their last items; ``sharers`` 0 uses all sharers."""
    whole = open_pool_subset(place)
    pool = open_pool_subset(place, count=sharers)
    # Column 0 is the base; keep the columns of the chosen sharers.
    columns = [0, *(1 + n for n, sharer in enumerate(whole.sharers) if sharer in pool.sharers)]
    found = compute_losses(place, clock)
    return {
        h.person: recipe_from_nll(
            h.person, found[h.person][length][columns], pool, config, candidates=pool.sharers
        )
        for h in place.people.target_users
    }


def assemble_adapters(
    place: Workspace,
    length: int,
    *,
    clock: TimeBudget | None = None,
    sharers: int = 0,
    config: AssembleConfig = BY_LIKELIHOOD,
) -> dict[str, LoraAdapter]:
    """Return the adapters of these recipes, all of the same rank."""
    pool = open_pool_subset(place)
    made = build_recipes(place, length, clock=clock, sharers=sharers, config=config)
    return {p: build_adapter(r, pool, room=config.top_k) for p, r in made.items()}
