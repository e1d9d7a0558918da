"""Records the token ids of each forward of a base's decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from idiolect.models.base import Base
from idiolect.models.structure import find_decoder


@contextmanager
def record_ids(base: Base) -> Iterator[list[Tensor]]:
    """Yield a list that gets the token ids [B, T] of each forward of the decoder inside."""
    seen: list[Tensor] = []
    handle = find_decoder(base.model).register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()
