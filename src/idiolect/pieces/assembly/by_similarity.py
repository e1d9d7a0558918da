"""Mixes whole adapters of similar people: the simpler baseline that assembling by pieces must beat.

Per-Pcs (arXiv 2406.10471, section 4.1) calls it PEFT retrieval: of all sharers, those whose
histories are most similar to the target user's, each adapter as a whole. This module takes
vectors and a pool; the caller embeds the histories (``sharing.selection.compute_mean_vector``).

Shapes: ``D`` width of the encoder, ``K`` chosen sharers.
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
"""Cosines within one step of this size are a tie, so that rounding does not choose."""


def find_nearest_sharers(
    target_user: Vector, sharers: Mapping[str, Vector], count: int
) -> tuple[tuple[str, float], ...]:
    """Return the ``count`` sharers most similar to a target user with their cosines, best first.

    ``target_user`` and each sharer: the mean vector [D] of a history. Ties go to the pseudonym that
    sorts first. Raises UsageError if ``count`` exceeds the number of sharers, IntegrityError for a
    zero or non-finite vector.
    """
    if not 1 <= count <= len(sharers):
        raise UsageError(
            f"whole adapters: cannot take {count} of {len(sharers)} sharers; choose 1 to "
            f"{len(sharers)}"
        )
    one = _normalize_vector(target_user, "the target user")
    # Vectors have length 1, so the dot product is the cosine.
    cosines = {
        sharer: float(one @ _normalize_vector(vector, f"sharer {sharer}"))
        for sharer, vector in sharers.items()
    }
    order = sorted(cosines, key=lambda sharer: (-round(cosines[sharer] / TIE_STEP), sharer))
    return tuple((sharer, cosines[sharer]) for sharer in order[:count])


def mix_whole_adapters(person: str, chosen: Sequence[tuple[str, float]], pool: Pool) -> Recipe:
    """Return a recipe of the chosen sharers' whole adapters, weighted by similarity.

    Weights are the cosines, with negative ones set to 0, divided by their sum; they are uniform if
    all are 0. They are the same at every module. Raises MissingError for a sharer who is not in the
    pool or shares only some modules.
    """
    # The recipe uses every module of every chosen sharer.
    for sharer, _ in chosen:
        if len(pool.list_shared_modules(sharer)) < len(pool.sites):
            raise MissingError(f"{pool.folder}: sharer {sharer} does not share a whole adapter")
    likeness = torch.tensor([cosine for _, cosine in chosen], dtype=torch.float64).clamp_min(0)
    # No sharer is similar: fall back to uniform weights.
    if not likeness.any():
        likeness = torch.ones_like(likeness)
    # Round as the recipe stores weights.
    weight = (likeness / likeness.sum()).half().float()
    return Recipe(
        person=person,
        sharers=tuple(sharer for sharer, _ in chosen),
        pick=torch.arange(len(chosen)).repeat(len(pool.sites), 1),
        weight=weight.repeat(len(pool.sites), 1),
        aggregate="delta",
    )


def _normalize_vector(vector: Vector, whose: str) -> NDArray[np.float64]:
    """Return the vector scaled to length 1."""
    wide = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(wide))
    if not np.isfinite(length) or length == 0:
        raise IntegrityError(
            f"whole adapters: the vector of {whose} has no direction ({length}); was it made from "
            "an empty history?"
        )
    return wide / length
