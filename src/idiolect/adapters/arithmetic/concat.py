"""Two adapters on top of each other as one of a higher rank; knows no files.

A person's adapter is trained on a base with the task's adapter merged in. Where only the public
base is at hand, both go out as one: ``s1 B1 A1 + s2 B2 A2 = [B1 B2] [s1 A1; s2 A2]``, exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import MismatchError


def round_up_rank(rank: int) -> int:
    """The smallest rank from 8, 16, 32, 64, ... (what vLLM is built for) that has room."""
    out = 8
    while out < rank:
        out *= 2
    return out


def concat_lora(task: LoraAdapter, person: LoraAdapter) -> LoraAdapter:
    """One adapter on the task adapter's base whose update is the sum of both.

    Its rank is the sum of theirs, padded with zeros to a servable one; scales are folded into A,
    so alpha equals the rank. Modules that only one of them has keep that one's update. The caller
    knows that the person's base is the task's base with the task's adapter merged in. Raises
    MismatchError where a module's widths differ.
    """
    rank = round_up_rank(task.config.rank + person.config.rank)
    targets = tuple(dict.fromkeys((*task.config.targets, *person.config.targets)))
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for path in dict.fromkeys((*task.pairs, *person.pairs)):
        parts = [(x.pairs[path], x.config.scale) for x in (task, person) if path in x.pairs]
        widths = {(a.shape[1], b.shape[0]) for (a, b), _ in parts}
        if len(widths) > 1:
            raise MismatchError(
                f"module {path}: the two adapters' widths (in, out) differ: {sorted(widths)}; "
                "they were made for different base models"
            )
        pairs[path] = _concat_pairs(parts, rank)
    config = LoraConfig(rank=rank, alpha=float(rank), targets=targets)
    return LoraAdapter(config=config, base=task.base, pairs=pairs)


def _concat_pairs(
    parts: list[tuple[tuple[Tensor, Tensor], float]], rank: int
) -> tuple[Tensor, Tensor]:
    """A [rank, D] and B [O, rank] of the scaled pairs one after the other, then zeros."""
    (first_a, first_b), _ = parts[0]
    dtype = torch.float32
    for (a, b), _ in parts:
        dtype = torch.promote_types(torch.promote_types(dtype, a.dtype), b.dtype)
    down = torch.zeros(rank, first_a.shape[1], dtype=dtype)
    up = torch.zeros(first_b.shape[0], rank, dtype=dtype)
    at = 0
    for (a, b), scale in parts:
        end = at + a.shape[0]
        down[at:end] = scale * a.to(dtype)
        up[:, at:end] = b.to(dtype)
        at = end
    return down, up
