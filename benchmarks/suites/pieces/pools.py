"""The benchmark's pool, and what it would be if only some had shared, or a part of their pieces."""

from __future__ import annotations

from idiolect.config import derive_seed
from idiolect.pieces.pool.pool import Pool
from suites.pieces.pool_subset import PoolSubset
from suites.pieces.settings import SEED
from suites.pieces.workspace import Workspace

POOL_FOLDER = "pool"


def open_pool_subset(
    place: Workspace, strategy: str = "cluster", count: int = 0, ratio: float = 1.0
) -> Pool:
    """The pool as if only some had shared: a strategy's people, so many of them, in part."""
    people = place.people.chosen[strategy]
    if count:  # fewer are always among more
        order = sorted(people, key=lambda person: derive_seed(SEED, person, "fewer sharers"))
        people = tuple(order[:count])
    return PoolSubset(
        place.artifact_folder / POOL_FOLDER,
        [place.make_pseudonym(person) for person in people],
        ratio,
    )
