"""A pool with additional sharers, in memory only: to audit what target users would get from it.

Nothing is written, so a sharer who is only a candidate is never stored in the pool's folder.

Shapes: ``S`` sharers, those of the pool followed by the additional ones; ``D`` input width of a
module.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from idiolect.errors import MissingError
from idiolect.pieces.pool.adapter_file import Pair
from idiolect.pieces.pool.contribution import Contribution
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.pool.segment import to_storage


class PoolPreview(Pool):
    """A pool and additional sharers who are not in it, read as one pool."""

    def __init__(self, pool: Pool, entries: Sequence[Contribution]) -> None:
        super().__init__(pool.folder, Pool.read_header(pool.folder))
        self._inside = pool
        self._entries = {entry.sharer: entry for entry in entries}

    @property
    def sharers(self) -> tuple[str, ...]:
        """All sharers in the pool, then the additional ones."""
        return (*self._inside.sharers, *self._entries)

    def load_gates(self, path: str) -> Tensor:
        """Return LN(g) of all sharers for one module [S, D], rounded as a pool stores it."""
        inside = self._inside.load_gates(path)
        # The same rounding as on disk, so that the audit sees what target users will get.
        rows = [
            to_storage(entry.gates[path], where=f"sharer {entry.sharer}, {path}").float()
            if path in entry.sites
            else inside.new_zeros(inside.shape[1])
            for entry in self._entries.values()
        ]
        return torch.cat([inside, *(row[None] for row in rows)])

    def get_shared_mask(self, path: str) -> Tensor:
        """Return which sharers share their piece of one module [S] (bool)."""
        additional = [path in entry.sites for entry in self._entries.values()]
        return torch.cat(
            [self._inside.get_shared_mask(path), torch.tensor(additional, dtype=torch.bool)]
        )

    def load_pieces(self, sharer: str, paths: Collection[str] | None = None) -> dict[str, Pair]:
        """Return A [R, D] and B [O, R] by module, as ``Pool.load_pieces`` does."""
        entry = self._entries.get(sharer)
        if entry is None:
            return self._inside.load_pieces(sharer, paths)
        for path in paths or ():
            if path not in entry.sites:
                raise MissingError(f"{self.folder}: sharer {sharer} does not share {path}")
        wanted = entry.sites if paths is None else paths
        return {path: entry.adapter.pairs[path] for path in wanted}
