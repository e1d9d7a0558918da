"""The packed layout: a step's examples one after another, without padding. For GPUs.

A forward is one row of tokens, sorted by person, so that adapters are grouped matrix products
(``adapters/stacks/``) and attention runs within each sequence (``models/forward/varlen.py``). The
result equals that of padded rows, for adapters that act on all tokens of all layers.

Shapes: ``T`` tokens of a forward, ``N`` target tokens, ``D`` width of the model.
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
    """The rows of one forward, each without its last token, which predicts nothing."""

    ids: Tensor
    """Token ids [T], sorted by slot."""
    spans: PackedSequences
    """The lengths of the sequences."""
    slots: tuple[int, ...]
    """The slots of this forward, each once, in ascending order."""
    sizes: tuple[int, ...]
    """The number of tokens of each of these slots."""
    slot: Tensor
    """The slot of each target token [N]."""
    position: Tensor
    """The position in ``ids`` that predicts each target token [N]."""
    label: Tensor
    """The ids of the target tokens [N]."""
    count: Tensor
    """How often each target token counts [N], fp32."""


class PackedLayout:
    """Runs rows without padding."""

    def __init__(self, base: Base, stack: TrainableStack[object], *, forward_tokens: int) -> None:
        self.base, self.stack, self.forward_tokens = base, stack, forward_tokens

    def supports(self, rows: Sequence[BatchRow]) -> bool:
        """Return whether all layers attend to all tokens of each row, as packed attention does."""
        return has_full_attention(self.base, max(len(row.example.ids) for row in rows))

    def iter_forwards(self, rows: Sequence[BatchRow]) -> Iterator[TokenLosses]:
        """Yield the losses of one forward after another.

        When training, run the backward pass of one before asking for the next.
        """
        # One forward per group; the tokens of a person stay together.
        for group in split_by_token_budget(rows, self.forward_tokens):
            packed = pack_sequences(group, self.base.device)
            with self.stack.activate_packed(packed.slots, packed.sizes):
                hidden_TD = forward_packed(self.base, packed.ids, packed.spans)
            nll_N = nll_from_hidden(self.base.model, hidden_TD[packed.position], packed.label)
            yield TokenLosses(nll_N, packed.count, packed.slot)


def split_by_token_budget(rows: Sequence[BatchRow], budget: int) -> Iterator[list[BatchRow]]:
    """Yield groups of rows, sorted by slot, with at most ``budget`` tokens each (or one row)."""
    group: list[BatchRow] = []
    tokens = 0
    for row in sorted(rows, key=lambda row: row.slot):
        if group and tokens + _count_input_tokens(row) > budget:
            yield group
            group, tokens = [], 0
        group.append(row)
        tokens += _count_input_tokens(row)
    if group:
        yield group


def pack_sequences(rows: Sequence[BatchRow], device: torch.device) -> PackedBatch:
    """Pack rows, sorted by slot, into tensors."""
    ids: list[int] = []
    sizes: dict[int, int] = {}
    slot: list[int] = []
    position: list[int] = []
    label: list[int] = []
    count: list[float] = []
    # Positions count from the start of the packed row, hence the offset len(ids).
    for row in rows:
        offsets, labels, counts = list_targets(row.example)
        slot += [row.slot] * len(offsets)
        position += [len(ids) + offset for offset in offsets]
        label += labels
        count += counts
        ids += row.example.ids[:-1]
        sizes[row.slot] = sizes.get(row.slot, 0) + _count_input_tokens(row)
    # Grouped products need the tokens of a slot together, in the order of ``slots``.
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
    """Count the tokens of a row that run: all but the last."""
    return len(row.example.ids) - 1
