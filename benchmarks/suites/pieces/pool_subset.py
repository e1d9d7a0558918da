"""A pool as if only some of its sharers were there, with a part of their pieces: no bytes copied.

A test holds it against a pool that was made of just these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from idiolect.pieces.pool.contribution import choose_shared_sites
from idiolect.pieces.pool.pool import Pool
from suites.pieces.settings import SEED


class PoolSubset(Pool):
    """Reads only what is left of a pool."""

    def __init__(self, folder: Path, sharers: Sequence[str], ratio: float = 1.0) -> None:
        super().__init__(folder, Pool.read_header(folder))
        self._full_pool = Pool.open(folder)
        everyone = self._full_pool.sharers
        assert set(sharers) <= set(everyone), "somebody is not in the pool"
        self._rows = [row for row, sharer in enumerate(everyone) if sharer in sharers]
        self._kept_sharers = tuple(everyone[row] for row in self._rows)
        self._sites_of = {
            s: frozenset(choose_shared_sites(SEED, s, self.sites, ratio))
            for s in self._kept_sharers
        }
        self._cached_gates: dict[str, Tensor] = {}

    @property
    def sharers(self) -> tuple[str, ...]:
        """Those who are left."""
        return self._kept_sharers

    def load_gates(self, path: str) -> Tensor:
        """LN(g) of those who are left [S, D], zeros where they do not share."""
        if path not in self._cached_gates:
            flags = self.get_shared_mask(path)[:, None]
            self._cached_gates[path] = self._full_pool.load_gates(path)[self._rows] * flags
        return self._cached_gates[path]

    def get_shared_mask(self, path: str) -> Tensor:
        """Who of them shares their piece of one site [S]."""
        return torch.tensor([path in self._sites_of[sharer] for sharer in self._kept_sharers])

    def list_shared_sites(self, sharer: str) -> tuple[str, ...]:
        """The sites that a sharer shares here."""
        return tuple(path for path in self.sites if path in self._sites_of[sharer])
