"""Concatenation of two LoRA adapters into one of a higher rank.

A person's adapter is trained on a base that has the task adapter merged in. To run it on the public
base, which lacks that merge, both adapters are exported as one, which is exact:

    s1 B1 A1 + s2 B2 A2 = [B1 B2] [s1 A1; s2 A2]

Shapes: ``D``/``O`` input and output width of a module, ``R`` rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import MismatchError


def round_up_rank(rank: int) -> int:
    """The smallest of the ranks 8, 16, 32, 64, ... (those that vLLM supports) that is at least
    ``rank``."""
    out = 8
    while out < rank:
        out *= 2
    return out


def concat_lora(task: LoraAdapter, person: LoraAdapter) -> LoraAdapter:
    """Return one adapter for the task adapter's base whose update is the sum of both updates.

    The rank is the sum of both ranks, rounded up and padded with zeros. The scales are folded into
    A, so alpha equals the rank. A module that only one adapter has keeps that adapter's update. The
    caller must make sure that the person's base is the task's base with the task adapter merged in.
    Raises MismatchError if the widths of a module differ.
    """
    # Ranks and targets of both; the scales of both go into A below, so the result has scale 1.
    rank = round_up_rank(task.config.rank + person.config.rank)
    targets = tuple(dict.fromkeys((*task.config.targets, *person.config.targets)))
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for path in dict.fromkeys((*task.pairs, *person.pairs)):
        # One or two pairs per module, always the task's first.
        parts = [(x.pairs[path], x.config.scale) for x in (task, person) if path in x.pairs]
        widths = {(a.shape[1], b.shape[0]) for (a, b), _ in parts}
        if len(widths) > 1:
            raise MismatchError(
                f"module {path}: the (input, output) widths of the two adapters differ: "
                f"{sorted(widths)}; they were made for different base models"
            )
        pairs[path] = _concat_pairs(parts, rank)
    config = LoraConfig(rank=rank, alpha=float(rank), targets=targets)
    return LoraAdapter(config=config, base=task.base, pairs=pairs)


def _concat_pairs(
    parts: list[tuple[tuple[Tensor, Tensor], float]], rank: int
) -> tuple[Tensor, Tensor]:
    """Return A [R, D] and B [O, R] for ``rank`` R: the scaled pairs in order, then zeros."""
    (first_a, first_b), _ = parts[0]
    # The widest of all dtypes, so that no pair loses precision.
    dtype = torch.float32
    for (a, b), _ in parts:
        dtype = torch.promote_types(torch.promote_types(dtype, a.dtype), b.dtype)
    a_RD = torch.zeros(rank, first_a.shape[1], dtype=dtype)
    b_OR = torch.zeros(first_b.shape[0], rank, dtype=dtype)
    start = 0
    for (a, b), scale in parts:
        end = start + a.shape[0]
        a_RD[start:end] = scale * a.to(dtype)
        b_OR[:, start:end] = b.to(dtype)
        start = end
    return a_RD, b_OR
