"""A basis for private training: a mean adapter, and the main directions in which people differ.

All adapters share one A, so their updates are linear in B, and ``mean + sum_i z_i direction_i`` is
again an adapter of the same rank. The directions are the principal components of people's B. Each
is scaled to the standard deviation of the people along it, so that coordinates ``z`` of further
people have variance 1. The caller must check that each person consents.

Shapes: ``n`` adapters, ``K`` directions, ``P`` numbers of all B together, ``O`` output width of a
module, ``R`` rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from idiolect.adapters.arithmetic.mean import average_adapters
from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import IntegrityError, MismatchError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterBasis:
    """A mean adapter with shared A, and directions of its B."""

    mean: LoraAdapter
    directions: Tensor
    """One direction per row [K, P], in fp32; columns in the order of ``flatten_b``."""

    def __post_init__(self) -> None:
        size = sum(b.numel() for _, b in self.mean.pairs.values())
        if self.directions.ndim != 2 or self.directions.shape[1] != size:
            raise MismatchError(
                f"directions of shape {tuple(self.directions.shape)} do not fit an adapter with "
                f"{size} numbers in B; make the basis again: idiolect mean --directions"
            )
        if not torch.isfinite(self.directions).all():
            raise IntegrityError("a direction contains a number that is not finite")

    @property
    def count(self) -> int:
        """The number of directions."""
        return self.directions.shape[0]

    def move_to(self, z_K: Tensor) -> LoraAdapter:
        """Return the adapter at these coordinates."""
        moved = flatten_b(self.mean).double() + z_K.double() @ self.directions.double()
        return replace_b(self.mean, moved)

    def project(self, adapter: LoraAdapter) -> Tensor:
        """Return the coordinates [K] of the nearest adapter of this basis (least squares)."""
        offset = (flatten_b(adapter) - flatten_b(self.mean)).double()
        # Principal components are orthogonal, so each coordinate stands alone.
        directions = self.directions.double()
        return (directions @ offset) / directions.square().sum(dim=1).clamp_min(1e-30)


def compute_basis(adapters: Sequence[LoraAdapter], count: int) -> AdapterBasis:
    """Return the mean of people's adapters, and the ``count`` directions of largest variance.

    Raises UsageError if the adapters do not share one A, or if there are fewer than two people per
    direction; MismatchError if they differ in base or kind.
    """
    mean = average_adapters(adapters)
    require_shared_a(adapters)
    # With fewer people per direction, a direction would be a person's adapter.
    if not 1 <= count <= len(adapters) // 2:
        raise UsageError(
            f"directions: {count} of {len(adapters)} people; at least 1, and at most half as many "
            "as people"
        )
    offsets_nP = torch.stack([flatten_b(one) for one in adapters]).double()
    offsets_nP -= offsets_nP.mean(dim=0)
    # The Gram matrix [n, n] has the same components as the large covariance matrix.
    values, vectors = torch.linalg.eigh(offsets_nP @ offsets_nP.T)
    best = torch.argsort(values, descending=True)[:count]
    # u^T X has the norm sqrt(value); the people's standard deviation is sqrt(value / (n - 1)).
    directions = (vectors[:, best].T @ offsets_nP) / (len(adapters) - 1) ** 0.5
    # An eigenvector's sign is arbitrary: make the largest entry positive.
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions *= largest.sign()
    config = replace(mean.config, shared_a=True)
    return AdapterBasis(mean=replace(mean, config=config), directions=directions.float())


def require_shared_a(adapters: Sequence[LoraAdapter]) -> None:
    """Raise UsageError unless all adapters have the same A, so that their B can be compared."""
    first = adapters[0].pairs
    pairs = [(path, a) for one in adapters for path, (a, _) in one.pairs.items()]
    if not all(path in first and torch.equal(a, first[path][0]) for path, a in pairs):
        raise UsageError(
            "directions and private means need adapters that share one A; train these people with "
            "--set lora.shared_a=true"
        )


def flatten_b(adapter: LoraAdapter) -> Tensor:
    """Return all B of an adapter as one vector [P], in the order of the modules."""
    return torch.cat([b.flatten() for _, b in adapter.pairs.values()])


def replace_b(adapter: LoraAdapter, flat_P: Tensor) -> LoraAdapter:
    """Return the adapter with the B of a vector that is laid out as by ``flatten_b``."""
    parts = flat_P.split([b.numel() for _, b in adapter.pairs.values()])
    pairs = {
        path: (a, part.view_as(b).to(b.dtype).clone())
        for (path, (a, b)), part in zip(adapter.pairs.items(), parts, strict=True)
    }
    return replace(adapter, pairs=pairs)
