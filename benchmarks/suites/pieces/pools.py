"""Opens the benchmark's pool, reduced to a strategy's sharers or to a part of their pieces."""

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
    """Open the pool with only ``count`` sharers of a strategy (0: all), each sharing ``ratio``."""
    people = place.people.chosen[strategy]
    if count:
        # The order is fixed, so that a larger pool contains all sharers of a smaller one.
        order = sorted(people, key=lambda person: derive_seed(SEED, person, "fewer sharers"))
        people = tuple(order[:count])
    return PoolSubset(
        place.artifact_folder / POOL_FOLDER,
        [place.make_pseudonym(person) for person in people],
        ratio,
    )
