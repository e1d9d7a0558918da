"""The padded layout: a step's examples as padded rows of similar length, for all kinds of adapters.

A row can continue from cached activations of the base (``activation_cache.py``), or from a prefix
that it shares with other rows of the person (``shared_prefixes.py``); otherwise it runs whole, with
dropout if configured.

Shapes: ``B`` rows, ``T`` tokens, ``N`` target tokens of a forward, ``D`` width of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.protocol import AdapterConfig
from idiolect.adapters.row_groups import RowGrouper
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.inference.nll import nll_from_hidden
from idiolect.models.attention import PastKeyValues
from idiolect.models.base import Base
from idiolect.models.forward.partial import forward_part, has_full_attention
from idiolect.models.structure import find_decoder
from idiolect.prompts.batch import Batch, collate
from idiolect.prompts.render import Example
from idiolect.training.engine.activation_cache import ActivationCache
from idiolect.training.engine.dropout import make_row_dropout
from idiolect.training.engine.shared_prefixes import (
    SharedPrefixes,
    find_shared_prefixes,
    no_prefixes,
    uses_prefixes,
)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One example of one step."""

    slot: int
    """The person's slot in the stack."""
    example: Example
    seed: int
    """Seed of the row's dropout."""


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """The losses of the target tokens of one forward."""

    nll: Tensor
    """Negative log likelihood [N], in nats, with its graph."""
    count: Tensor
    """How often each target token counts [N]."""
    slot: Tensor
    """The slot of each target token [N]."""


class PaddedLayout:
    """Runs rows, padded to the longest of their forward."""

    def __init__(
        self,
        base: Base,
        stack: TrainableStack[object],
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        share: bool,
        cache: ActivationCache | None,
    ) -> None:
        self.base, self.stack, self.adapter_config = base, stack, adapter_config
        self.forward_tokens, self.activation_cache = forward_tokens, cache
        self.grouper = RowGrouper.for_adapters(base, adapter_config)
        self.share_prefixes = (
            share
            and not cache
            and not adapter_config.dropout
            and adapter_config.active == "all"
            and uses_prefixes(base)
            and not self.grouper.separates_people  # the prefixes of all people share a forward
        )

    def iter_forwards(self, rows: Sequence[BatchRow]) -> Iterator[TokenLosses]:
        """Yield the losses of one forward after another.

        When training, run the backward pass of one before asking for the next.
        """
        if self.activation_cache:
            self.activation_cache.ensure_cached([row.example for row in rows])
        all_prefixes = self._find_prefixes(rows)
        for group in all_prefixes.iter_row_groups(self.forward_tokens):
            # Stage 1: run the prefixes that rows of this group share.
            group_rows, prefixes = [rows[i] for i in group], all_prefixes.select(group)
            prefix_kv = self._run_prefixes(group_rows, prefixes)
            widths = [
                self._count_adapted_tokens(row) - prefixes.get_prefix_length(n)
                for n, row in enumerate(group_rows)
            ]
            # Stage 2: run the rest of the rows, in several forwards. Each forward's backward frees
            # its graph, but the prefixes' graph is needed for all of them. So rows see detached
            # keys and values, and their gradients add up in these leaves.
            leaf_kv = {
                layer: (_detach_leaf(k), _detach_leaf(v)) for layer, (k, v) in prefix_kv.items()
            }
            owners = [row.slot for row in group_rows]
            for numbers in self.grouper.iter_groups(owners, widths, self.forward_tokens):
                chosen = [group_rows[i] for i in numbers]
                owners_B = self._make_slot_tensor(chosen)
                starts = [prefixes.get_prefix_length(n) for n in numbers]
                past_kv = prefixes.gather_past_key_values(leaf_kv, numbers, self.base.device)
                nll_N, batch = self._forward_rows(chosen, owners_B, starts, past_kv)
                yield TokenLosses(nll_N, batch.count, owners_B[batch.row])
            # Stage 3: one backward through the prefixes, from the summed gradients of their leaves.
            if torch.is_grad_enabled():
                self._backward_prefixes(prefix_kv, leaf_kv)

    def _count_adapted_tokens(self, row: BatchRow) -> int:
        """Count the tokens of a row that run through adapted layers."""
        return len(row.example.ids) - (
            self.activation_cache.find_active_start(row.example) if self.activation_cache else 0
        )

    def _make_slot_tensor(self, rows: Sequence[BatchRow]) -> Tensor:
        """Return the slot of each row [B]."""
        return torch.tensor([row.slot for row in rows], device=self.base.device)

    def _find_prefixes(self, rows: Sequence[BatchRow]) -> SharedPrefixes:
        """Find the prefixes that rows of one person share, within their prompts."""
        lengths = [len(row.example.ids) for row in rows]
        # A prefix can be shared only if all layers attend to all of its tokens.
        if not self.share_prefixes or not has_full_attention(self.base, max(lengths)):
            return no_prefixes(len(rows))
        prompts = [row.example.ids[: row.example.answer_start] for row in rows]
        return find_shared_prefixes(prompts, [row.slot for row in rows], tokens=sum(lengths))

    def _run_prefixes(self, rows: Sequence[BatchRow], prefixes: SharedPrefixes) -> PastKeyValues:
        """Compute the keys and values of prefixes, with their graph; empty without prefixes."""
        if not prefixes.ids:
            return {}
        owners_B = self._make_slot_tensor([rows[n] for n in prefixes.representative_rows()])
        with self.stack.activate(owners_B):
            return prefixes.run_prefixes(self.base).new_key_values

    def _backward_prefixes(self, prefix_kv: PastKeyValues, leaf_kv: PastKeyValues) -> None:
        """Run the backward of the prefixes, from the gradients at their keys and values."""
        pairs = [
            (output, leaf.grad)
            for layer, both in prefix_kv.items()
            for output, leaf in zip(both, leaf_kv[layer], strict=True)
            if leaf.grad is not None
        ]
        if pairs:
            outputs, gradients = zip(*pairs, strict=True)
            torch.autograd.backward(outputs, gradients)

    def _forward_rows(
        self,
        rows: Sequence[BatchRow],
        owners_B: Tensor,
        starts: Sequence[int],
        past_kv: PastKeyValues | None,
    ) -> tuple[Tensor, Batch]:
        """Run rows from their starts on, after ``past_kv``; returns losses [N] and the batch."""
        # With a cache, the base's part of each row was computed by ensure_cached.
        examples = [row.example for row in rows]
        if self.activation_cache:
            return self.activation_cache.target_nll(self.stack, examples, owners_B)
        batch = collate(
            examples, pad=self.base.pad_token_id, device=self.base.device, starts=starts
        )
        ids_BT = batch.ids[:, :-1]  # the last column predicts nothing
        if past_kv is None:
            hidden_BTD = self._forward_whole_rows(rows, ids_BT, owners_B)
        else:
            with self.stack.activate(owners_B):
                hidden_BTD = forward_part(self.base, ids_BT, batch.start, front=past_kv).hidden
        # The output head is the largest matrix: apply it at the predicting positions only.
        hidden_ND = hidden_BTD[batch.row, batch.position]
        return nll_from_hidden(self.base.model, hidden_ND, batch.label), batch

    def _forward_whole_rows(
        self, rows: Sequence[BatchRow], ids_BT: Tensor, owners_B: Tensor
    ) -> Tensor:
        """Run whole rows, with dropout if training; returns hidden states [B, T, D]."""
        prompts = [row.example.ids[: row.example.answer_start] for row in rows]
        active = self.stack.token_mask(prompts, ids_BT.shape[1])
        # Dropout applies in training only; each row has its own seed.
        lengths = [len(row.example.ids) - 1 for row in rows]
        rate = self.adapter_config.dropout if torch.is_grad_enabled() else 0.0
        drop = make_row_dropout(rate, [row.seed for row in rows], lengths)
        with self.stack.activate(owners_B, active=active, dropout=drop):
            decoder: Any = find_decoder(self.base.model)
            return decoder(input_ids=ids_BT, use_cache=False).last_hidden_state


def _detach_leaf(tensor: Tensor) -> Tensor:
    """Return a leaf with the same data, at which the gradient stops."""
    return tensor.detach().requires_grad_(tensor.requires_grad)
