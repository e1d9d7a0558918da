"""Baseline retrievers that do not look at the text: random items, and the most recent ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from idiolect.config import derive_seed


@dataclass(frozen=True, kw_only=True)
class RandomRetriever:
    """Retrieves random earlier items: the same for the same seed, person, text and ``visible``."""

    seed: int = 0
    person: str = ""

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """Return at most ``k`` different visible positions, in the order drawn."""
        seed = derive_seed(self.seed, "retrieval", self.person, visible, text)
        drawn = np.random.default_rng(seed).permutation(visible)[: max(k, 0)]
        return tuple(int(position) for position in drawn)


@dataclass(frozen=True)
class RecentRetriever:
    """Retrieves the most recent earlier items."""

    def retrieve_top_k(self, text: str, *, visible: int, k: int) -> tuple[int, ...]:
        """Return at most ``k`` visible positions, the latest first."""
        return tuple(range(visible - 1, max(visible - 1 - max(k, 0), -1), -1))
