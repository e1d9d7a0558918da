"""An adapter's own numbers as byte strings: by them it is found wherever it was copied to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from idiolect.adapters.protocol import Adapter

_MIN_VALUES, _MAX_VALUES = 16, 64
"""Numbers that are looked for of a tensor: fewer may be anybody's, more find no more."""


def tensor_bytes(adapter: Adapter) -> Iterator[bytes]:
    """Every tensor's bytes, as stores, pools and PEFT's format hold them."""
    yield from map(_encode_float32, adapter.stored_forms())


def byte_signatures(adapter: Adapter) -> frozenset[bytes]:
    """The first numbers of each of the person's own tensors, if most of them are not zero."""
    out: set[bytes] = set()
    for tensor in adapter.personal_forms():
        first = tensor.detach().flatten()[:_MAX_VALUES]
        if len(first) >= _MIN_VALUES and bool(first.count_nonzero() > len(first) // 2):
            raw = _encode_float32(first)
            out |= {raw} if raw[:8].strip(b"\x00") else set()
    return frozenset(out)


def _encode_float32(tensor: Tensor) -> bytes:
    return tensor.detach().to(torch.float32).contiguous().numpy().tobytes()
