"""Sharers of the tiny model: random adapters, random gates, and a pool for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from idiolect.adapters.lora import LoraConfig
from idiolect.models.base import Base
from idiolect.pieces.pool.contribution import Contribution
from idiolect.pieces.pool.pool import Pool
from support.tiny_people import random_adapter

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "k_proj", "v_proj", "o_proj"))


def make_sharer_id(number: int) -> str:
    """A pseudonym that encodes the sharer's number."""
    return f"{number:016x}"


def create_empty_pool(folder: Path, base: Base, lora: LoraConfig = LORA) -> Pool:
    """An empty pool."""
    return Pool.create(folder, base, source="tiny", task="rating", lora=lora, settings={"steps": 9})


def make_contribution(
    pool: Pool, base: Base, number: int, sites: Sequence[str] | None = None
) -> Contribution:
    """The contribution of sharer ``number``, for all sites or for some."""
    draw = torch.Generator().manual_seed(1000 + number)
    shared = tuple(pool.sites if sites is None else sites)
    gates = {site.path: torch.randn(site.inputs, generator=draw) * 1e-4 for site in pool.modules}
    return Contribution(
        sharer=make_sharer_id(number),
        adapter=random_adapter(base, number, pool.lora),
        gates={path: gates[path] for path in shared},
        sites=shared,
        about={"steps": 100, "loss": 0.5},
    )
