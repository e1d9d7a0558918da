"""Prefill of rows in the base model without adapters: keys and values, and boundary hidden states.

No adapter acts here, so rows of all people share work: equal rows run once, and shared prefixes run
once.

Shapes: ``L`` layers, ``B`` rows, ``K`` key-value heads, ``T`` tokens of a row, ``S`` tokens of its
active part, ``d``/``D`` width of a head and of the model.
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
"""The keys and values of all layers are in memory for the prompts of this number of forwards."""


@dataclass(frozen=True, slots=True)
class PrefillOutput:
    """The activations of one row."""

    key_values: Tensor
    """Keys and values [L, 2, K, T, d]."""
    boundary_hidden: Tensor
    """The output of the last layer that ran [T, D]."""


@dataclass(frozen=True, slots=True)
class CachedActivations:
    """The activations of one example from which its adapted layers continue."""

    past_key_values: Tensor | None
    """Keys and values of the prompt in the adapted layers [L, 2, K, T, d]; ``None`` without a
    cached prompt."""
    boundary_hidden: Tensor | None
    """The input of the first adapted layer [S, D]; ``None`` if that is the first layer of all."""

    @property
    def num_bytes(self) -> int:
        """The memory that these tensors use."""
        return sum(
            t.numel() * t.element_size()
            for t in (self.past_key_values, self.boundary_hidden)
            if t is not None
        )


@torch.no_grad()
def prefill_base(
    base: Base, examples: Sequence[tuple[TokenIds, int]], *, first: int, forward_tokens: int
) -> Iterator[tuple[int, CachedActivations]]:
    """Yield (number, activations) of each example, in any order.

    An example is its tokens and the position at which adapters start to act. ``first`` is the first
    adapted layer.
    """
    # Examples with the same prompt share its keys and values. Sorted prompts share more prefixes.
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
    """Prefill all examples that have one of these prompts."""
    # The prompts, through all layers: [L, 2, K, T, d] each; the cache keeps the adapted layers.
    pasts = {
        prompt: left.key_values
        for prompt, left in _prefill_rows(base, [p for p in prompts if p], None, forward_tokens)
    }
    cached = {prompt: past[first:].clone() for prompt, past in pasts.items()}
    example_numbers = [number for prompt in prompts for number in by_prompt[prompt]]
    # The tokens after the prompt, through the layers below the first adapted one.
    boundaries: dict[int, Tensor] = {}
    if first:
        rows = [(n, examples[n][0][examples[n][1] : -1]) for n in example_numbers]
        if pasts:
            boundaries = dict(
                _run_after_prompts(base, examples, rows, pasts, first, forward_tokens)
            )
        else:
            found = dict(_prefill_rows(base, [row for _, row in rows], first, forward_tokens))
            boundaries = {n: found[row].boundary_hidden for n, row in rows}
    for number in example_numbers:
        ids, start = examples[number]
        yield number, CachedActivations(cached.get(ids[:start]), boundaries.get(number))


def _prefill_rows(
    base: Base, rows: Sequence[TokenIds], until: int | None, forward_tokens: int
) -> Iterator[tuple[TokenIds, PrefillOutput]]:
    """Yield the activations of each distinct row; prefixes that rows share run once.

    ``until``: run only the layers before this one.
    """
    rows = list(dict.fromkeys(rows))
    shared = find_shared_prefixes(rows, [None] * len(rows), tokens=sum(map(len, rows)))
    widths = [len(row) - shared.get_prefix_length(n) for n, row in enumerate(rows)]
    for batch in batches_within_token_budget(widths, forward_tokens):
        # The prefixes of this batch, in one forward of their own.
        prefixes = shared.select(batch)
        starts = [prefixes.get_prefix_length(n) for n in range(len(batch))]
        prefix_out = prefixes.run_prefixes(base, until=until) if prefixes.ids else None
        # The rest of each row, which attends to its prefix.
        out = forward_part(
            base,
            pad_token_ids(
                [rows[n][start:] for n, start in zip(batch, starts, strict=True)],
                base.pad_token_id,
                base.device,
            ),
            torch.tensor(starts, device=base.device),
            front=prefixes.gather_past_key_values(
                prefix_out.new_key_values, range(len(batch)), base.device
            )
            if prefix_out
            else None,
            until=until,
        )
        # Cut off the padding and put each row's prefix in front of it.
        own_L2BKTd = _stack_new_key_values(out)
        prefix_L2BKTd = _stack_new_key_values(prefix_out) if prefix_out else None
        for index, (n, start) in enumerate(zip(batch, starts, strict=True)):
            past_L2KTd = own_L2BKTd[:, :, index, :, : widths[n]]
            hidden_TD = out.boundary_hidden[index, : widths[n]]
            if start and prefix_out and prefix_L2BKTd is not None:
                prefix_index = prefixes.prefix_of_row[index]
                past_L2KTd = torch.cat(
                    [prefix_L2BKTd[:, :, prefix_index, :, :start], past_L2KTd], dim=3
                )
                hidden_TD = torch.cat([prefix_out.boundary_hidden[prefix_index, :start], hidden_TD])
            yield rows[n], PrefillOutput(past_L2KTd, hidden_TD.clone())


def _run_after_prompts(
    base: Base,
    examples: Sequence[tuple[TokenIds, int]],
    rows: Sequence[tuple[int, TokenIds]],
    pasts: dict[TokenIds, Tensor],
    first: int,
    forward_tokens: int,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (number, boundary hidden states [S, D]) of the tokens after the prompts.

    ``rows`` are (example number, tokens after its prompt); ``pasts`` are keys and values by prompt.
    """
    for batch in batches_within_token_budget([len(row) for _, row in rows], forward_tokens):
        chosen = [rows[n] for n in batch]
        starts = [examples[n][1] for n, _ in chosen]
        # Keys and values of each row's prompt; rows without a prompt get zeros, which are masked.
        front = stack_past_key_values(
            [pasts.get(examples[n][0][: examples[n][1]]) for n, _ in chosen]
        )
        out = forward_part(
            base,
            pad_token_ids([row for _, row in chosen], base.pad_token_id, base.device),
            torch.tensor(starts, device=base.device),
            front=front,
            until=first,
        )
        for index, (n, row) in enumerate(chosen):
            # A copy, so that the padded tensor of the whole batch can be freed.
            yield n, out.boundary_hidden[index, : len(row)].clone()


def _stack_new_key_values(out: PartialForwardOutput) -> Tensor:
    """Stack the new keys and values of all layers that ran, as [L, 2, B, K, T, d]."""
    return torch.stack(
        [torch.stack(out.new_key_values[layer]) for layer in sorted(out.new_key_values)]
    )


def stack_past_key_values(pasts: Sequence[Tensor | None], first: int = 0) -> PastKeyValues | None:
    """Stack keys and values [L, 2, K, T, d] of rows, by layer; shorter rows are padded with zeros.

    Each layer gets keys and values [B, K, T, d]. Layers are numbered from ``first`` on. ``None`` if
    no row has any.
    """
    present = [p for p in pasts if p is not None]
    if not present:
        return None
    layers, two, heads, _, width = present[0].shape
    longest = max(p.shape[3] for p in present)
    out_L2BKTd = present[0].new_zeros(layers, two, len(pasts), heads, longest, width)
    for row, past_L2KTd in enumerate(pasts):
        if past_L2KTd is not None:
            out_L2BKTd[:, :, row, :, : past_L2KTd.shape[3]] = past_L2KTd
    return {first + n: (both[0], both[1]) for n, both in enumerate(out_L2BKTd)}
