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
from idiolect.inference.nll import nll_from_hidden
from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base
from idiolect.models.forward.partial import forward_part, has_full_attention
from idiolect.prompts.batch import Batch, batches_within_token_budget, collate
from idiolect.prompts.render import Example
from idiolect.training.engine.activation_cache import ActivationCache
from idiolect.training.engine.dropout import make_row_dropout
from idiolect.training.engine.shared_prefixes import (
    SharedPrefixes,
    find_shared_prefixes,
    no_prefixes,
)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One example of one step."""

    slot: int
    example: Example
    seed: int
    """What its dropout is drawn from."""


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """The target tokens of one forward."""

    nll: Tensor
    """Negative log likelihood of each [N], in nats, with its graph."""
    count: Tensor
    """How often each counts [N]."""
    slot: Tensor
    """Whose each is [N]."""


class PaddedLayout:
    """Runs rows padded to the longest of a forward."""

    def __init__(
        self,
        base: Base,
        stack: TrainableStack[object],
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        share: bool,
        frozen: ActivationCache | None,
    ) -> None:
        self.base, self.stack, self.adapter_config = base, stack, adapter_config
        self.forward_tokens, self.activation_cache = forward_tokens, frozen
        self.share_prefixes = (
            share and not frozen and not adapter_config.dropout and adapter_config.active == "all"
        )

    def iter_forwards(self, rows: Sequence[BatchRow]) -> Iterator[TokenLosses]:
        """One forward after another; whoever trains goes backward before asking for the next."""
        if self.activation_cache:
            self.activation_cache.ensure_cached([row.example for row in rows])
        heads = self._find_prefixes(rows)
        for group in heads.iter_row_groups(self.forward_tokens):
            theirs, some = [rows[i] for i in group], heads.select(group)
            made = self._run_prefixes(theirs, some)
            widths = [
                self._count_adapted_tokens(row) - some.get_prefix_length(n)
                for n, row in enumerate(theirs)
            ]
            # Their graph lasts for several forwards, so its gradients are collected in between.
            fronts = {layer: (_detach_leaf(k), _detach_leaf(v)) for layer, (k, v) in made.items()}
            for parcel in batches_within_token_budget(widths, self.forward_tokens):
                chosen = [theirs[i] for i in parcel]
                owners = self._make_slot_tensor(chosen)
                starts = [some.get_prefix_length(n) for n in parcel]
                front = some.gather_past_key_values(fronts, parcel, self.base.device)
                nll, batch = self._forward_rows(chosen, owners, starts, front)
                yield TokenLosses(nll, batch.count, owners[batch.row])
            if torch.is_grad_enabled():
                self._backward_prefixes(made, fronts)

    def _count_adapted_tokens(self, row: BatchRow) -> int:
        """Tokens of a row that run through adapted layers."""
        return len(row.example.ids) - (
            self.activation_cache.find_active_start(row.example) if self.activation_cache else 0
        )

    def _make_slot_tensor(self, rows: Sequence[BatchRow]) -> Tensor:
        return torch.tensor([row.slot for row in rows], device=self.base.device)

    def _find_prefixes(self, rows: Sequence[BatchRow]) -> SharedPrefixes:
        """What each person's rows have in common before their targets."""
        lengths = [len(row.example.ids) for row in rows]
        if not self.share_prefixes or not has_full_attention(self.base, max(lengths)):
            return no_prefixes(len(rows))
        prompts = [row.example.ids[: row.example.answer_start] for row in rows]
        return find_shared_prefixes(prompts, [row.slot for row in rows], tokens=sum(lengths))

    def _run_prefixes(self, rows: Sequence[BatchRow], heads: SharedPrefixes) -> PastKeyValues:
        """Keys and values of heads, with their graph."""
        if not heads.ids:
            return {}
        owners = self._make_slot_tensor([rows[n] for n in heads.representative_rows()])
        with self.stack.activate(owners):
            return heads.run_prefixes(self.base).new_key_values

    def _backward_prefixes(self, made: PastKeyValues, fronts: PastKeyValues) -> None:
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

    def _forward_rows(
        self,
        rows: Sequence[BatchRow],
        owners: Tensor,
        starts: Sequence[int],
        front: PastKeyValues | None,
    ) -> tuple[Tensor, Batch]:
        """The rows from their starts on, behind what stands in front of them."""
        examples = [row.example for row in rows]
        if self.activation_cache:
            return self.activation_cache.target_nll(self.stack, examples, owners)
        batch = collate(
            examples, pad=self.base.pad_token_id, device=self.base.device, starts=starts
        )
        ids = batch.ids[:, :-1]  # the last column predicts nothing
        if front is None:
            hidden = self._forward_whole_rows(rows, ids, owners)
        else:
            with self.stack.activate(owners):
                hidden = forward_part(self.base, ids, batch.start, front=front).hidden
        hidden = hidden[batch.row, batch.position]
        return nll_from_hidden(self.base.model, hidden, batch.label), batch

    def _forward_whole_rows(self, rows: Sequence[BatchRow], ids: Tensor, owners: Tensor) -> Tensor:
        """Hidden states [B, T, D] of whole rows."""
        prompts = [row.example.ids[: row.example.answer_start] for row in rows]
        active = self.stack.token_mask(prompts, ids.shape[1])
        lengths = [len(row.example.ids) - 1 for row in rows]
        rate = self.adapter_config.dropout if torch.is_grad_enabled() else 0.0
        drop = make_row_dropout(rate, [row.seed for row in rows], lengths)
        with self.stack.activate(owners, active=active, dropout=drop):
            decoder: Any = self.base.model.get_decoder()
            return decoder(input_ids=ids, use_cache=False).last_hidden_state


def _detach_leaf(tensor: Tensor) -> Tensor:
    """The same numbers, where gradients for them end."""
    return tensor.detach().requires_grad_(tensor.requires_grad)
