"""Byte signatures of an adapter's tensors, which find copies of it in other files."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from idiolect.adapters.protocol import Adapter

_MIN_VALUES, _MAX_VALUES = 16, 64
"""The number of values of a signature: fewer could match by chance, more would not find more."""


def tensor_bytes(adapter: Adapter) -> Iterator[bytes]:
    """Yield the bytes of each tensor as stores, pools and PEFT's format hold them."""
    yield from map(_encode_float32, adapter.stored_forms())


def byte_signatures(adapter: Adapter) -> frozenset[bytes]:
    """Return the first values of each personal tensor as bytes, unless they are mostly zeros."""
    out: set[bytes] = set()
    for tensor in adapter.personal_forms():
        # An untrained B is zeros, which every untrained adapter has.
        first = tensor.detach().flatten()[:_MAX_VALUES]
        if len(first) >= _MIN_VALUES and bool(first.count_nonzero() > len(first) // 2):
            # A signature that starts with zero bytes would match the zeros of other files.
            raw = _encode_float32(first)
            out |= {raw} if raw[:8].strip(b"\x00") else set()
    return frozenset(out)


def _encode_float32(tensor: Tensor) -> bytes:
    return tensor.detach().to(torch.float32).contiguous().numpy().tobytes()
