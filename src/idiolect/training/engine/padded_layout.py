"""A step's examples as padded rows of like length: the layout for every kind of adapter.

Rows go on from what the bare base leaves (``frozen.py``), or from first tokens that they have in
common (``heads.py``), or run whole, with dropout where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.protocol import AdapterConfig
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.inference.nll import head_nll
from idiolect.models.attention import Front
from idiolect.models.base import Base
from idiolect.models.forward.partial import run_part, sees_all
from idiolect.prompts.batch import Batch, collate, parcels
from idiolect.prompts.render import Example
from idiolect.training.engine.activation_cache import Frozen
from idiolect.training.engine.dropout import row_dropout
from idiolect.training.engine.shared_prefixes import Heads, no_heads, shared_heads


@dataclass(frozen=True, slots=True)
class Row:
    """One example of one step."""

    slot: int
    example: Example
    seed: int
    """What its dropout is drawn from."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The target tokens of one forward."""

    nll: Tensor
    """Negative log likelihood of each [N], in nats, with its graph."""
    count: Tensor
    """How often each counts [N]."""
    slot: Tensor
    """Whose each is [N]."""


class PaddedRows:
    """Runs rows padded to the longest of a forward."""

    def __init__(
        self,
        base: Base,
        stack: TrainableStack[object],
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        share: bool,
        frozen: Frozen | None,
    ) -> None:
        self.base, self.stack, self.adapter_config = base, stack, adapter_config
        self.forward_tokens, self.frozen = forward_tokens, frozen
        self.share = (
            share and not frozen and not adapter_config.dropout and adapter_config.active == "all"
        )

    def forwards(self, rows: Sequence[Row]) -> Iterator[Scored]:
        """One forward after another; whoever trains goes backward before asking for the next."""
        if self.frozen:
            self.frozen.prepare([row.example for row in rows])
        heads = self._heads(rows)
        for group in heads.parcels(self.forward_tokens):
            theirs, some = [rows[i] for i in group], heads.among(group)
            made = self._run_heads(theirs, some)
            widths = [self._width(row) - some.length(n) for n, row in enumerate(theirs)]
            # Their graph lasts for several forwards, so its gradients are collected in between.
            fronts = {layer: (_leaf(k), _leaf(v)) for layer, (k, v) in made.items()}
            for parcel in parcels(widths, self.forward_tokens):
                chosen = [theirs[i] for i in parcel]
                owners = self._owners(chosen)
                starts = [some.length(n) for n in parcel]
                front = some.front(fronts, parcel, self.base.device)
                nll, batch = self._forward(chosen, owners, starts, front)
                yield Scored(nll, batch.count, owners[batch.row])
            if torch.is_grad_enabled():
                self._back_to_heads(made, fronts)

    def _width(self, row: Row) -> int:
        """Tokens of a row that run through adapted layers."""
        return len(row.example.ids) - (self.frozen.start(row.example) if self.frozen else 0)

    def _owners(self, rows: Sequence[Row]) -> Tensor:
        return torch.tensor([row.slot for row in rows], device=self.base.device)

    def _heads(self, rows: Sequence[Row]) -> Heads:
        """What each person's rows have in common before their targets."""
        lengths = [len(row.example.ids) for row in rows]
        if not self.share or not sees_all(self.base, max(lengths)):
            return no_heads(len(rows))
        prompts = [row.example.ids[: row.example.answer_start] for row in rows]
        return shared_heads(prompts, [row.slot for row in rows], tokens=sum(lengths))

    def _run_heads(self, rows: Sequence[Row], heads: Heads) -> Front:
        """Keys and values of heads, with their graph."""
        if not heads.ids:
            return {}
        owners = self._owners([rows[n] for n in heads.some_row()])
        with self.stack.applied(owners):
            return heads.run(self.base).made

    def _back_to_heads(self, made: Front, fronts: Front) -> None:
        """The backward of the heads, from what the rows' left at their keys and values."""
        pairs = [
            (output, leaf.grad)
            for layer, both in made.items()
            for output, leaf in zip(both, fronts[layer], strict=True)
            if leaf.grad is not None
        ]
        if pairs:
            outputs, found = zip(*pairs, strict=True)
            torch.autograd.backward(outputs, found)

    def _forward(
        self, rows: Sequence[Row], owners: Tensor, starts: Sequence[int], front: Front | None
    ) -> tuple[Tensor, Batch]:
        """The rows from their starts on, behind what stands in front of them."""
        examples = [row.example for row in rows]
        if self.frozen:
            return self.frozen.target_nll(self.stack, examples, owners)
        batch = collate(examples, pad=self.base.pad, device=self.base.device, starts=starts)
        ids = batch.ids[:, :-1]  # the last column predicts nothing
        if front is None:
            hidden = self._whole(rows, ids, owners)
        else:
            with self.stack.applied(owners):
                hidden = run_part(self.base, ids, batch.start, front=front).hidden
        hidden = hidden[batch.row, batch.position]
        return head_nll(self.base.model, hidden, batch.label), batch

    def _whole(self, rows: Sequence[Row], ids: Tensor, owners: Tensor) -> Tensor:
        """Hidden states [B, T, D] of whole rows."""
        prompts = [row.example.ids[: row.example.answer_start] for row in rows]
        active = self.stack.active(prompts, ids.shape[1])
        lengths = [len(row.example.ids) - 1 for row in rows]
        rate = self.adapter_config.dropout if torch.is_grad_enabled() else 0.0
        drop = row_dropout(rate, [row.seed for row in rows], lengths)
        with self.stack.applied(owners, active=active, dropout=drop):
            decoder: Any = self.base.model.get_decoder()
            return decoder(input_ids=ids, use_cache=False).last_hidden_state


def _leaf(tensor: Tensor) -> Tensor:
    """The same numbers, where gradients for them end."""
    return tensor.detach().requires_grad_(tensor.requires_grad)
