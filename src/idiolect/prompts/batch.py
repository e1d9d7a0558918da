"""From examples to tensors: right padding, and where the answer tokens are predicted.

Shapes: ``B`` rows, ``T`` tokens, ``N`` target tokens of the whole batch. Attention is causal and
padding stands behind every real token, so no attention mask is needed and padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of examples as tensors."""

    ids: Tensor
    """Token ids [B, T] from each row's start on, padded on the right."""
    start: Tensor
    """Where each row starts in its example [B]; 0 for a whole one."""
    length: Tensor
    """How many tokens of each row are no padding [B]."""
    row: Tensor
    """The row of each target token [N]."""
    position: Tensor
    """The position that predicts it [N] (the one before its own)."""
    label: Tensor
    """The target tokens' ids [N]."""
    count: Tensor
    """How often each target token counts [N], fp32."""

    @property
    def num_tokens(self) -> int:
        """Size of the forward, padding included."""
        return self.ids.numel()


def collate(
    examples: Sequence[Example],
    *,
    pad: int,
    device: torch.device,
    starts: Sequence[int] | None = None,
) -> Batch:
    """Examples as one batch, or with ``starts`` what of each stands from there on.

    A start lies before its example's first target is predicted.
    """
    begin = starts or [0] * len(examples)
    row: list[int] = []
    position: list[int] = []
    label: list[int] = []
    count: list[float] = []
    for number, (example, at) in enumerate(zip(examples, begin, strict=True)):
        assert at < example.answer_start
        places, labels, counts = list_targets(example)
        row += [number] * len(places)
        position += [place - at for place in places]
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
    """An example's target tokens: the positions that predict them, their ids, how often each
    counts."""
    places = range(example.answer_start - 1, len(example.ids) - 1)
    first = example.label_counts or ((example.ids[example.answer_start], 1),)
    rest = example.ids[example.answer_start + 1 :]
    return (
        [places[0]] * len(first) + list(places[1:]),
        [token for token, _ in first] + list(rest),
        [times for _, times in first] + [example.num_answers] * len(rest),
    )


def pad_token_ids(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> Tensor:
    """Token ids [B, T], padded on the right."""
    ids = torch.full((len(rows), max(1, *map(len, rows))), pad, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids.to(device)


def batches_within_token_budget(lengths: Sequence[int], budget: int) -> Iterator[tuple[int, ...]]:
    """Row numbers grouped so that each padded group has at most ``budget`` tokens (or one row).

    Rows of like length go together, longest first, so little is padding and the largest
    allocation comes first.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        widest = max(1, lengths[order[start]])
        end = min(len(order), start + max(1, budget // widest))
        yield tuple(order[start:end])
        start = end
