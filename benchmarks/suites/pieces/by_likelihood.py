"""Newcomers' recipes by likelihood: what each sharer would lose, found once, by lengths of history.

Losses add up over items, so those of a longer history go on from a shorter one's, and fewer
sharers, other weights and other numbers of pieces follow from the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter
from idiolect.models.cpu.prepacked_linear import packed
from idiolect.pieces.assembly.by_likelihood import ASKED_TOKENS, Likelihood, recipe_by
from idiolect.pieces.assembly.newcomers import Newcomer
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe, materialise
from idiolect.prompts.render import Example
from idiolect.storage.files import read_json, write_json
from kit.time_budget import Clock, pieces
from suites.pieces.pools import some_of
from suites.pieces.settings import BY_LIKELIHOOD
from suites.pieces.workspace import Place

AT_ONCE = 2
"""People between which a stop costs nothing."""

Losses = dict[str, dict[int, Tensor]]
"""By newcomer and length: what the base and every sharer lose on the last items [1 + C]."""


def lengths(place: Place) -> tuple[int, ...]:
    """At which lengths of history newcomers' recipes are made by likelihood."""
    most = place.people.setting.likely
    return tuple(length for length in place.sizes.lengths if length <= most)


def losses(place: Place, clock: Clock | None = None) -> Losses:
    """Everybody's, once found they are kept. Raises TimeIsUpError."""
    path = place.made / "likely.json"
    kept: dict[str, dict[str, list[float]]] = read_json(path) if path.is_file() else {}
    waiting = [h for h in place.people.newcomers if h.person not in kept]
    if waiting:
        pool = some_of(place)
        asking = Likelihood(place.base, pool, BY_LIKELIHOOD, forward_tokens=ASKED_TOKENS)
        for group in pieces(clock, waiting, AT_ONCE):
            with packed(place.base.model):
                for history in group:
                    found = _by_length(asking, place.examples(history), lengths(place))
                    kept[history.person] = {str(n): nats.tolist() for n, nats in found.items()}
            write_json(path, kept)
    return {
        person: {int(n): torch.tensor(nats, dtype=torch.float64) for n, nats in found.items()}
        for person, found in kept.items()
    }


def _by_length(
    asking: Likelihood, examples: Sequence[Example], wanted: Sequence[int]
) -> dict[int, Tensor]:
    out: dict[int, Tensor] = {}
    total, done = torch.zeros(1 + len(asking.asked), dtype=torch.float64), 0
    for length in sorted(wanted):
        some = tuple(examples[-length : len(examples) - done])
        if some:
            total = total + asking.nats(Newcomer("", some))
        out[length], done = total, length
    return out


def recipes(
    place: Place,
    length: int,
    *,
    clock: Clock | None = None,
    sharers: int = 0,
    config: AssembleConfig = BY_LIKELIHOOD,
) -> dict[str, Recipe]:
    """Newcomers' recipes by their last items, of all sharers or of some."""
    whole = some_of(place)
    pool = some_of(place, count=sharers)
    columns = [0, *(1 + n for n, sharer in enumerate(whole.sharers) if sharer in pool.sharers)]
    found = losses(place, clock)
    return {
        h.person: recipe_by(
            h.person, found[h.person][length][columns], pool, config, asked=pool.sharers
        )
        for h in place.people.newcomers
    }


def assembled(
    place: Place,
    length: int,
    *,
    clock: Clock | None = None,
    sharers: int = 0,
    config: AssembleConfig = BY_LIKELIHOOD,
) -> dict[str, LoraAdapter]:
    """The adapters of these recipes, all of one kind."""
    pool = some_of(place)
    made = recipes(place, length, clock=clock, sharers=sharers, config=config)
    return {p: materialise(r, pool, room=config.top_k) for p, r in made.items()}
