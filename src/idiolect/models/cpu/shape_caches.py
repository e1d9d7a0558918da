"""Bounds what torch keeps for every matrix shape it has met on a CPU.

For bfloat16, torch and its oneDNN both cache compiled code by shape, 1,024 entries each. People's
batches hardly ever repeat a shape, so the caches fill for hundreds of people with what is not used
again: 1.2 GB instead of 0.6 GB for 230 people on the tiny model, and no faster. One step's shapes
fit into far fewer entries.
"""

from __future__ import annotations

import os

CACHE_ENTRIES = 64
"""Several times the shapes of one step: a model's layers are all alike."""
_CACHE_VARIABLES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")


def limit_onednn_shape_caches() -> None:
    """Bound them for this process and its children; what the environment says already stands.

    The caches ask once, so this must come before the process's first large multiplication.
    """
    for name in _CACHE_VARIABLES:
        os.environ.setdefault(name, str(CACHE_ENTRIES))
