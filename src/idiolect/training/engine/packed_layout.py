"""A step's examples one behind another, without padding: the layout for GPUs.

A forward is one row of tokens, those of a person together, so that adapters are grouped products
(``adapters.ragged``) and attention runs over spans (``models.varlen``). It computes what padded
rows do, for adapters that act on all tokens of all layers.

Shapes: ``N`` tokens of a forward, ``M`` target tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.adapters.stacks.base import TrainableStack
from idiolect.inference.nll import nll_from_hidden
from idiolect.models.base import Base
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.forward.varlen import PackedSequences, forward_packed
from idiolect.prompts.batch import list_targets
from idiolect.training.engine.padded_layout import BatchRow, TokenLosses


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """Rows of one forward; each without its last token, which predicts nothing."""

    ids: Tensor
    """Token ids [N], sorted by slot."""
    spans: PackedSequences
    slots: tuple[int, ...]
    """Whose tokens they are, each slot once, in order."""
    sizes: tuple[int, ...]
    """How many tokens each of these slots has."""
    slot: Tensor
    """The slot of each target token [M]."""
    position: Tensor
    """The place in ``ids`` that predicts it [M]."""
    label: Tensor
    """The target tokens' ids [M]."""
    count: Tensor
    """How often each target token counts [M], fp32."""


class PackedLayout:
    """Runs rows without padding."""

    def __init__(self, base: Base, stack: TrainableStack[object], *, forward_tokens: int) -> None:
        self.base, self.stack, self.forward_tokens = base, stack, forward_tokens

    def supports(self, rows: Sequence[BatchRow]) -> bool:
        """Whether all layers see all tokens of each row, as attention over spans does."""
        return has_full_attention(self.base, max(len(row.example.ids) for row in rows))

    def iter_forwards(self, rows: Sequence[BatchRow]) -> Iterator[TokenLosses]:
        """One forward after another; whoever trains goes backward before asking for the next."""
        for some in split_by_token_budget(rows, self.forward_tokens):
            packed = pack_sequences(some, self.base.device)
            with self.stack.activate_packed(packed.slots, packed.sizes):
                hidden = forward_packed(self.base, packed.ids, packed.spans)
            nll = nll_from_hidden(self.base.model, hidden[packed.position], packed.label)
            yield TokenLosses(nll, packed.count, packed.slot)


def split_by_token_budget(rows: Sequence[BatchRow], budget: int) -> Iterator[list[BatchRow]]:
    """Rows by slot, as many together as have at most ``budget`` tokens (or one row)."""
    some: list[BatchRow] = []
    tokens = 0
    for row in sorted(rows, key=lambda row: row.slot):
        if some and tokens + _count_input_tokens(row) > budget:
            yield some
            some, tokens = [], 0
        some.append(row)
        tokens += _count_input_tokens(row)
    if some:
        yield some


def pack_sequences(rows: Sequence[BatchRow], device: torch.device) -> PackedBatch:
    """Rows, sorted by slot, as tensors."""
    ids: list[int] = []
    sizes: dict[int, int] = {}
    slot: list[int] = []
    position: list[int] = []
    label: list[int] = []
    count: list[float] = []
    for row in rows:
        places, labels, counts = list_targets(row.example)
        slot += [row.slot] * len(places)
        position += [len(ids) + place for place in places]
        label += labels
        count += counts
        ids += row.example.ids[:-1]
        sizes[row.slot] = sizes.get(row.slot, 0) + _count_input_tokens(row)
    assert list(sizes) == sorted(sizes)
    to = {"dtype": torch.long, "device": device}
    return PackedBatch(
        ids=torch.tensor(ids, **to),
        spans=PackedSequences.from_lengths([_count_input_tokens(row) for row in rows], device),
        slots=tuple(sizes),
        sizes=tuple(sizes.values()),
        slot=torch.tensor(slot, **to),
        position=torch.tensor(position, **to),
        label=torch.tensor(label, **to),
        count=torch.tensor(count, dtype=torch.float32, device=device),
    )


def _count_input_tokens(row: BatchRow) -> int:
    """The tokens of a row that run."""
    return len(row.example.ids) - 1
