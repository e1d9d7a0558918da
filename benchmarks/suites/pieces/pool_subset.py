"""A view of a pool with only some of its sharers and a part of their pieces; copies no files.

A test compares it with a pool that was built from these sharers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from idiolect.pieces.pool.contribution import choose_shared_modules
from idiolect.pieces.pool.pool import Pool
from suites.pieces.settings import SEED


class PoolSubset(Pool):
    """Reads the chosen part of a pool."""

    def __init__(self, folder: Path, sharers: Sequence[str], ratio: float = 1.0) -> None:
        super().__init__(folder, Pool.read_header(folder))
        self._full_pool = Pool.open(folder)
        all_sharers = self._full_pool.sharers
        assert set(sharers) <= set(all_sharers), "a sharer is not in the pool"
        self._rows = [row for row, sharer in enumerate(all_sharers) if sharer in sharers]
        self._kept_sharers = tuple(all_sharers[row] for row in self._rows)
        self._sites_of = {
            s: frozenset(choose_shared_modules(SEED, s, self.sites, ratio))
            for s in self._kept_sharers
        }
        self._cached_gates: dict[str, Tensor] = {}

    @property
    def sharers(self) -> tuple[str, ...]:
        """The chosen sharers."""
        return self._kept_sharers

    def load_gates(self, path: str) -> Tensor:
        """Return LN(g) of the chosen sharers [S, D]; zeros if they do not share this piece."""
        if path not in self._cached_gates:
            flags = self.get_shared_mask(path)[:, None]
            self._cached_gates[path] = self._full_pool.load_gates(path)[self._rows] * flags
        return self._cached_gates[path]

    def get_shared_mask(self, path: str) -> Tensor:
        """Return whether each chosen sharer shares the piece of a module [S]."""
        return torch.tensor([path in self._sites_of[sharer] for sharer in self._kept_sharers])

    def list_shared_modules(self, sharer: str) -> tuple[str, ...]:
        """Return the modules whose pieces a sharer shares in this view."""
        return tuple(path for path in self.sites if path in self._sites_of[sharer])
