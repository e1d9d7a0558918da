"""Turns examples into padded batches, with the positions that predict the target tokens.

Shapes: ``B`` rows, ``T`` tokens, ``N`` target tokens of the whole batch. Attention is causal and
padding is on the right, so no attention mask is needed: no real token attends to padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples as tensors."""

    ids: Tensor
    """Token ids [B, T] from each row's start on, right-padded."""
    start: Tensor
    """The index in its example at which each row starts [B]; 0 for a whole example."""
    length: Tensor
    """The number of real tokens of each row [B]."""
    row: Tensor
    """The row of each target token [N]."""
    position: Tensor
    """The position that predicts each target token [N] (the one before its own)."""
    label: Tensor
    """The ids of the target tokens [N]."""
    count: Tensor
    """The weight of each target token [N], fp32: how often it counts."""

    @property
    def num_tokens(self) -> int:
        """The number of tokens of the forward, with padding."""
        return self.ids.numel()


def collate(
    examples: Sequence[Example],
    *,
    pad: int,
    device: torch.device,
    starts: Sequence[int] | None = None,
) -> Batch:
    """Build a batch of whole examples, or with ``starts`` of their tokens from these indices on.

    Each start must be before the position that predicts the example's first target.
    """
    begin = starts or [0] * len(examples)
    # Flat lists over the target tokens of all rows.
    row: list[int] = []
    position: list[int] = []
    label: list[int] = []
    count: list[float] = []
    for number, (example, at) in enumerate(zip(examples, begin, strict=True)):
        assert at < example.answer_start
        positions, labels, counts = list_targets(example)
        row += [number] * len(positions)
        # Positions count from the row's start, not from the example's.
        position += [predicting - at for predicting in positions]
        label += labels
        count += counts
    to = {"dtype": torch.long, "device": device}
    return Batch(
        ids=pad_token_ids([e.ids[at:] for e, at in zip(examples, begin, strict=True)], pad, device),
        start=torch.tensor(list(begin), **to),
        length=torch.tensor([len(e.ids) - b for e, b in zip(examples, begin, strict=True)], **to),
        row=torch.tensor(row, **to),
        position=torch.tensor(position, **to),
        label=torch.tensor(label, **to),
        count=torch.tensor(count, dtype=torch.float32, device=device),
    )


def list_targets(example: Example) -> tuple[list[int], list[int], list[int]]:
    """Return, for an example's target tokens, the positions that predict them, their ids, and how
    often each counts."""
    # With label counts, the first target is a distribution over tokens at one position.
    positions = range(example.answer_start - 1, len(example.ids) - 1)
    first = example.label_counts or ((example.ids[example.answer_start], 1),)
    rest = example.ids[example.answer_start + 1 :]
    return (
        [positions[0]] * len(first) + list(positions[1:]),
        [token for token, _ in first] + list(rest),
        [times for _, times in first] + [example.num_answers] * len(rest),
    )


def pad_token_ids(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> Tensor:
    """Return token ids [B, T], right-padded."""
    # At least one column, so that an empty row is still a tensor.
    ids = torch.full((len(rows), max(1, *map(len, rows))), pad, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids.to(device)


def batches_within_token_budget(lengths: Sequence[int], budget: int) -> Iterator[tuple[int, ...]]:
    """Yield groups of row indices; each padded group has at most ``budget`` tokens (or one row).

    Rows of similar length form a group, longest first, so there is little padding and the largest
    allocation comes first.
    """
    # The first row of a group is its longest, so it sets the padded width.
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        widest = max(1, lengths[order[start]])
        end = min(len(order), start + max(1, budget // widest))
        yield tuple(order[start:end])
        start = end
