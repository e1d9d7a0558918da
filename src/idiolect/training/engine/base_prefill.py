"""What rows leave in the bare base: keys and values in every layer, activations at an edge.

Nobody's adapter acts here, so rows of all people share: equal ones run once, first tokens in common
run once.

Shapes: ``L`` layers, ``H`` heads of keys, ``T`` tokens of a row, ``S`` of its answer part, ``d``/
``D`` widths of a head and of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.models.attention import Front
from idiolect.models.base import Base
from idiolect.models.forward.partial import Ran, run_part
from idiolect.prompts.batch import padded, parcels
from idiolect.training.engine.shared_prefixes import shared_heads

Tokens = tuple[int, ...]

HELD = 8
"""Prompts of so many forwards are held with all their layers at once."""


@dataclass(frozen=True, slots=True)
class Left:
    """What one row leaves."""

    past: Tensor
    """Keys and values [L, 2, H, T, d]."""
    edge: Tensor
    """What the last layer that ran gave [T, D]."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one example leaves for adapted layers to go on from."""

    past: Tensor | None
    """Keys and values of its prompt in the adapted layers; ``None`` where nothing is gone past."""
    edge: Tensor | None
    """What enters the first adapted layer [S, D]; ``None`` where that is the first of all."""

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return sum(t.numel() * t.element_size() for t in (self.past, self.edge) if t is not None)


@torch.no_grad()
def run_bare(
    base: Base, examples: Sequence[tuple[Tokens, int]], *, first: int, forward_tokens: int
) -> Iterator[tuple[int, Kept]]:
    """What examples (tokens, where adapters start to act) leave below the layer ``first``: their
    numbers, in any order, and what is kept of each."""
    by_prompt: dict[Tokens, list[int]] = {}
    for number, (ids, start) in enumerate(examples):
        by_prompt.setdefault(ids[:start], []).append(number)
    some: list[Tokens] = []
    for prompt in sorted(by_prompt):
        some.append(prompt)
        if sum(map(len, some)) >= HELD * forward_tokens:
            yield from _run_prompts(base, examples, by_prompt, some, first, forward_tokens)
            some = []
    if some:
        yield from _run_prompts(base, examples, by_prompt, some, first, forward_tokens)


def _run_prompts(
    base: Base,
    examples: Sequence[tuple[Tokens, int]],
    by_prompt: dict[Tokens, list[int]],
    prompts: Sequence[Tokens],
    first: int,
    forward_tokens: int,
) -> Iterator[tuple[int, Kept]]:
    """The examples of some prompts."""
    pasts = {
        prompt: left.past
        for prompt, left in _run_rows(base, [p for p in prompts if p], None, forward_tokens)
    }
    kept = {prompt: past[first:].clone() for prompt, past in pasts.items()}
    numbers = [number for prompt in prompts for number in by_prompt[prompt]]
    edges: dict[int, Tensor] = {}
    if first:
        rows = [(n, examples[n][0][examples[n][1] : -1]) for n in numbers]
        if pasts:
            edges = dict(_edges_behind(base, examples, rows, pasts, first, forward_tokens))
        else:
            found = dict(_run_rows(base, [row for _, row in rows], first, forward_tokens))
            edges = {n: found[row].edge for n, row in rows}
    for number in numbers:
        ids, start = examples[number]
        yield number, Kept(kept.get(ids[:start]), edges.get(number))


def _run_rows(
    base: Base, rows: Sequence[Tokens], until: int | None, forward_tokens: int
) -> Iterator[tuple[Tokens, Left]]:
    """What each of the rows leaves that differ; first tokens in common run once."""
    rows = list(dict.fromkeys(rows))
    heads = shared_heads(rows, [None] * len(rows), tokens=sum(map(len, rows)))
    widths = [len(row) - heads.length(n) for n, row in enumerate(rows)]
    for parcel in parcels(widths, forward_tokens):
        some = heads.among(parcel)
        begin = [some.length(n) for n in range(len(parcel))]
        head = some.run(base, until=until) if some.ids else None
        ran = run_part(
            base,
            padded(
                [rows[n][at:] for n, at in zip(parcel, begin, strict=True)], base.pad, base.device
            ),
            torch.tensor(begin, device=base.device),
            front=some.front(head.made, range(len(parcel)), base.device) if head else None,
            until=until,
        )
        own, before = _stacked(ran), _stacked(head) if head else None
        for place, (n, at) in enumerate(zip(parcel, begin, strict=True)):
            past, edge = own[:, :, place, :, : widths[n]], ran.edge[place, : widths[n]]
            if at and head and before is not None:
                which = some.of_row[place]
                past = torch.cat([before[:, :, which, :, :at], past], dim=3)
                edge = torch.cat([head.edge[which, :at], edge])
            yield rows[n], Left(past, edge.clone())


def _edges_behind(
    base: Base,
    examples: Sequence[tuple[Tokens, int]],
    rows: Sequence[tuple[int, Tokens]],
    pasts: dict[Tokens, Tensor],
    first: int,
    forward_tokens: int,
) -> Iterator[tuple[int, Tensor]]:
    """What the tokens behind prompts leave at the edge, by number."""
    for parcel in parcels([len(row) for _, row in rows], forward_tokens):
        chosen = [rows[n] for n in parcel]
        starts = [examples[n][1] for n, _ in chosen]
        front = beside([pasts.get(examples[n][0][: examples[n][1]]) for n, _ in chosen])
        ran = run_part(
            base,
            padded([row for _, row in chosen], base.pad, base.device),
            torch.tensor(starts, device=base.device),
            front=front,
            until=first,
        )
        for place, (n, row) in enumerate(chosen):
            yield n, ran.edge[place, : len(row)].clone()


def _stacked(ran: Ran) -> Tensor:
    """Keys and values of all layers that ran [L, 2, B, H, T, d]."""
    return torch.stack([torch.stack(ran.made[layer]) for layer in sorted(ran.made)])


def beside(pasts: Sequence[Tensor | None], first: int = 0) -> Front | None:
    """Keys and values of many rows, by layer from ``first`` on [B, H, T, d], zeros where a row's
    tokens end."""
    some = [p for p in pasts if p is not None]
    if not some:
        return None
    layers, two, heads, _, width = some[0].shape
    longest = max(p.shape[3] for p in some)
    out = some[0].new_zeros(layers, two, len(pasts), heads, longest, width)
    for row, past in enumerate(pasts):
        if past is not None:
            out[:, :, row, :, : past.shape[3]] = past
    return {first + n: (both[0], both[1]) for n, both in enumerate(out)}
