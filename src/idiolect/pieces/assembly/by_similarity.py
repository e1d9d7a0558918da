"""Whole adapters of like people: the simpler way that choosing piece by piece must beat.

Per-Pcs (arXiv 2406.10471, section 4.1) calls it PEFT retrieval: of all sharers those whose
histories are most like a newcomer's, each adapter as a whole. Knows vectors and a pool; how
histories become vectors is the caller's (``sharers.mean_vector``).

Shapes: ``D`` width of the encoder, ``K`` sharers that are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import Recipe

Vector = NDArray[np.floating[Any]]

TIE_STEP = 1e-6
"""Cosines in the same step of this size are a tie: what rounding does to them must not choose."""


def find_nearest_sharers(
    newcomer: Vector, sharers: Mapping[str, Vector], count: int
) -> tuple[tuple[str, float], ...]:
    """The sharers most like a newcomer and their cosines, best first; a tie goes to the name that
    sorts first.

    ``newcomer`` and each sharer: the mean [D] of the vectors of a history. Raises UsageError for
    more than there are, IntegrityError for a vector without a direction.
    """
    if not 1 <= count <= len(sharers):
        raise UsageError(
            f"whole adapters: {count} of {len(sharers)} sharers cannot be taken; ask for 1 to "
            f"{len(sharers)}"
        )
    one = _normalise_vector(newcomer, "the newcomer")
    cosines = {
        sharer: float(one @ _normalise_vector(vector, f"sharer {sharer}"))
        for sharer, vector in sharers.items()
    }
    order = sorted(cosines, key=lambda sharer: (-round(cosines[sharer] / TIE_STEP), sharer))
    return tuple((sharer, cosines[sharer]) for sharer in order[:count])


def mix_whole_adapters(person: str, chosen: Sequence[tuple[str, float]], pool: Pool) -> Recipe:
    """The chosen sharers' whole adapters as a recipe: their updates weighted by likeness.

    Weights are the cosines, those below 0 as 0, over their sum, alike where nobody is like the
    newcomer; the same at every module. Raises MissingError for a sharer who is not in the pool, or
    shares only some modules.
    """
    for sharer, _ in chosen:
        if len(pool.list_shared_sites(sharer)) < len(pool.sites):
            raise MissingError(f"{pool.folder}: sharer {sharer} does not share a whole adapter")
    likeness = torch.tensor([cosine for _, cosine in chosen], dtype=torch.float64).clamp_min(0)
    if not likeness.any():
        likeness = torch.ones_like(likeness)
    weight = (likeness / likeness.sum()).half().float()
    return Recipe(
        person=person,
        sharers=tuple(sharer for sharer, _ in chosen),
        pick=torch.arange(len(chosen)).repeat(len(pool.sites), 1),
        weight=weight.repeat(len(pool.sites), 1),
        aggregate="delta",
    )


def _normalise_vector(vector: Vector, whose: str) -> NDArray[np.float64]:
    """The vector at length 1."""
    wide = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(wide))
    if not np.isfinite(length) or length == 0:
        raise IntegrityError(
            f"whole adapters: the vector of {whose} has no direction ({length}); was it made from "
            "an empty history?"
        )
    return wide / length
