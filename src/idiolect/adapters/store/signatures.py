"""An adapter's own numbers as byte strings: by them it is found wherever it was copied to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter

_LEAST, _MOST = 16, 64
"""Numbers that are looked for of a matrix: fewer may be anybody's, more find no more."""


def numbers_of(adapter: LoraAdapter) -> Iterator[bytes]:
    """Every matrix's bytes, as stores, pools and PEFT's format hold them."""
    for a, b in adapter.pairs.values():
        yield from (_bytes(a), _bytes(b), _bytes(adapter.config.scale * a))


def traces_of(adapter: LoraAdapter) -> frozenset[bytes]:
    """The first numbers of every matrix that says something: A where it is the person's own (also
    with its scale folded in, as it is stacked on others), and B."""
    out: set[bytes] = set()
    for a, b in adapter.pairs.values():
        own = () if adapter.config.shared_a else (a, adapter.config.scale * a)
        for matrix in (*own, b):
            first = matrix.detach().flatten()[:_MOST]
            if len(first) >= _LEAST and bool(first.count_nonzero() > len(first) // 2):
                raw = _bytes(first)
                out |= {raw} if raw[:8].strip(b"\x00") else set()
    return frozenset(out)


def _bytes(matrix: Tensor) -> bytes:
    return matrix.detach().to(torch.float32).contiguous().numpy().tobytes()
