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

from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base
from idiolect.models.forward.partial import PartialForwardOutput, forward_part
from idiolect.prompts.batch import batches_within_token_budget, pad_token_ids
from idiolect.training.engine.shared_prefixes import find_shared_prefixes

TokenIds = tuple[int, ...]

FORWARDS_PER_CHUNK = 8
"""Prompts of so many forwards are held with all their layers at once."""


@dataclass(frozen=True, slots=True)
class PrefillOutput:
    """What one row leaves."""

    key_values: Tensor
    """Keys and values [L, 2, H, T, d]."""
    boundary_hidden: Tensor
    """What the last layer that ran gave [T, D]."""


@dataclass(frozen=True, slots=True)
class CachedActivations:
    """What one example leaves for adapted layers to go on from."""

    past_key_values: Tensor | None
    """Keys and values of its prompt in the adapted layers; ``None`` where nothing is gone past."""
    boundary_hidden: Tensor | None
    """What enters the first adapted layer [S, D]; ``None`` where that is the first of all."""

    @property
    def num_bytes(self) -> int:
        """The memory that it takes."""
        return sum(
            t.numel() * t.element_size()
            for t in (self.past_key_values, self.boundary_hidden)
            if t is not None
        )


@torch.no_grad()
def prefill_base(
    base: Base, examples: Sequence[tuple[TokenIds, int]], *, first: int, forward_tokens: int
) -> Iterator[tuple[int, CachedActivations]]:
    """What examples (tokens, where adapters start to act) leave below the layer ``first``: their
    numbers, in any order, and what is kept of each."""
    by_prompt: dict[TokenIds, list[int]] = {}
    for number, (ids, start) in enumerate(examples):
        by_prompt.setdefault(ids[:start], []).append(number)
    some: list[TokenIds] = []
    for prompt in sorted(by_prompt):
        some.append(prompt)
        if sum(map(len, some)) >= FORWARDS_PER_CHUNK * forward_tokens:
            yield from _prefill_prompts(base, examples, by_prompt, some, first, forward_tokens)
            some = []
    if some:
        yield from _prefill_prompts(base, examples, by_prompt, some, first, forward_tokens)


def _prefill_prompts(
    base: Base,
    examples: Sequence[tuple[TokenIds, int]],
    by_prompt: dict[TokenIds, list[int]],
    prompts: Sequence[TokenIds],
    first: int,
    forward_tokens: int,
) -> Iterator[tuple[int, CachedActivations]]:
    """The examples of some prompts."""
    pasts = {
        prompt: left.key_values
        for prompt, left in _prefill_rows(base, [p for p in prompts if p], None, forward_tokens)
    }
    kept = {prompt: past[first:].clone() for prompt, past in pasts.items()}
    numbers = [number for prompt in prompts for number in by_prompt[prompt]]
    edges: dict[int, Tensor] = {}
    if first:
        rows = [(n, examples[n][0][examples[n][1] : -1]) for n in numbers]
        if pasts:
            edges = dict(_run_after_prompts(base, examples, rows, pasts, first, forward_tokens))
        else:
            found = dict(_prefill_rows(base, [row for _, row in rows], first, forward_tokens))
            edges = {n: found[row].boundary_hidden for n, row in rows}
    for number in numbers:
        ids, start = examples[number]
        yield number, CachedActivations(kept.get(ids[:start]), edges.get(number))


def _prefill_rows(
    base: Base, rows: Sequence[TokenIds], until: int | None, forward_tokens: int
) -> Iterator[tuple[TokenIds, PrefillOutput]]:
    """What each of the rows leaves that differ; first tokens in common run once."""
    rows = list(dict.fromkeys(rows))
    heads = find_shared_prefixes(rows, [None] * len(rows), tokens=sum(map(len, rows)))
    widths = [len(row) - heads.get_prefix_length(n) for n, row in enumerate(rows)]
    for parcel in batches_within_token_budget(widths, forward_tokens):
        some = heads.select(parcel)
        begin = [some.get_prefix_length(n) for n in range(len(parcel))]
        head = some.run_prefixes(base, until=until) if some.ids else None
        ran = forward_part(
            base,
            pad_token_ids(
                [rows[n][at:] for n, at in zip(parcel, begin, strict=True)],
                base.pad_token_id,
                base.device,
            ),
            torch.tensor(begin, device=base.device),
            front=some.gather_past_key_values(head.new_key_values, range(len(parcel)), base.device)
            if head
            else None,
            until=until,
        )
        own, before = _stack_new_key_values(ran), _stack_new_key_values(head) if head else None
        for place, (n, at) in enumerate(zip(parcel, begin, strict=True)):
            past, edge = own[:, :, place, :, : widths[n]], ran.boundary_hidden[place, : widths[n]]
            if at and head and before is not None:
                which = some.prefix_of_row[place]
                past = torch.cat([before[:, :, which, :, :at], past], dim=3)
                edge = torch.cat([head.boundary_hidden[which, :at], edge])
            yield rows[n], PrefillOutput(past, edge.clone())


def _run_after_prompts(
    base: Base,
    examples: Sequence[tuple[TokenIds, int]],
    rows: Sequence[tuple[int, TokenIds]],
    pasts: dict[TokenIds, Tensor],
    first: int,
    forward_tokens: int,
) -> Iterator[tuple[int, Tensor]]:
    """What the tokens behind prompts leave at the edge, by number."""
    for parcel in batches_within_token_budget([len(row) for _, row in rows], forward_tokens):
        chosen = [rows[n] for n in parcel]
        starts = [examples[n][1] for n, _ in chosen]
        front = stack_past_key_values(
            [pasts.get(examples[n][0][: examples[n][1]]) for n, _ in chosen]
        )
        ran = forward_part(
            base,
            pad_token_ids([row for _, row in chosen], base.pad_token_id, base.device),
            torch.tensor(starts, device=base.device),
            front=front,
            until=first,
        )
        for place, (n, row) in enumerate(chosen):
            yield n, ran.boundary_hidden[place, : len(row)].clone()


def _stack_new_key_values(ran: PartialForwardOutput) -> Tensor:
    """Keys and values of all layers that ran [L, 2, B, H, T, d]."""
    return torch.stack(
        [torch.stack(ran.new_key_values[layer]) for layer in sorted(ran.new_key_values)]
    )


def stack_past_key_values(pasts: Sequence[Tensor | None], first: int = 0) -> PastKeyValues | None:
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
