"""Serializes tensors in the safetensors format, with the same bytes for the same tensors.

safetensors writes the keys of a file's metadata in random order (0.8.0, issue 584), so files with
two keys or more differ from run to run. This module puts the keys in alphabetical order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

_SIZE_BYTES = 8
"""A file starts with the size of its JSON header, as a little-endian integer of 8 bytes."""


def serialize_tensors(tensors: Mapping[str, Tensor], *, base: str) -> bytes:
    """Return a safetensors file whose metadata names the base model's identity."""
    body = save(dict(tensors), metadata={"format": "pt", "base": base})
    end = _SIZE_BYTES + int.from_bytes(body[:_SIZE_BYTES], "little")
    header = json.loads(body[_SIZE_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Tensors are aligned behind the header, so it keeps its size: safetensors pads with spaces too.
    assert len(text) <= end - _SIZE_BYTES
    return body[:_SIZE_BYTES] + text.ljust(end - _SIZE_BYTES) + body[end:]
