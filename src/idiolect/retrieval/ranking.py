"""Ranking of scored positions, the same for all retrievers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def select_top_k(scores: npt.NDArray[np.floating], k: int) -> tuple[int, ...]:
    """Return the ``k`` positions of the highest scores [N], best first; later ones win ties."""
    later_first = -np.arange(len(scores))
    order = np.lexsort((later_first, -scores))
    return tuple(int(position) for position in order[: max(k, 0)])
