"""One step's losses and gradients of everyone who is seated, in as few forwards as fit.

A person's loss is the mean over their own target tokens; losses are summed over people, so no
gradient of one depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.adapters import LoraConfig, Stack
from idiolect.models import Base, Example
from idiolect.training.batch import Batch, collate, parcels
from idiolect.training.dropout import row_dropout
from idiolect.training.frozen import Frozen
from idiolect.training.loss import target_nll


@dataclass(frozen=True, slots=True)
class Row:
    """One example of one step."""

    slot: int
    example: Example
    seed: int
    """What its dropout is drawn from."""


class Gradients:
    """Runs rows forward and backward; the gradients end in the stack's buffer."""

    def __init__(
        self,
        base: Base,
        stack: Stack,
        lora: LoraConfig,
        *,
        forward_tokens: int,
        frozen: Frozen | None = None,
    ) -> None:
        self.base, self.stack, self.lora = base, stack, lora
        self.forward_tokens, self.frozen = forward_tokens, frozen

    def add(self, rows: Sequence[Row]) -> Tensor:
        """Each slot's mean loss per target token [U], fp64 on the CPU."""
        assert self.stack.grads is not None
        self.stack.grads.zero_()
        return self._run(rows, backward=True)

    @torch.no_grad()
    def losses(self, rows: Sequence[Row]) -> Tensor:
        """As ``add`` gives, without gradients."""
        return self._run(rows, backward=False)

    def _run(self, rows: Sequence[Row], *, backward: bool) -> Tensor:
        targets = [0] * self.stack.slots
        for row in rows:
            targets[row.slot] += row.example.targets
        losses = torch.zeros(self.stack.slots, dtype=torch.float64)
        if self.frozen:
            self.frozen.prepare([row.example for row in rows])
        for parcel in parcels([self._width(row) for row in rows], self.forward_tokens):
            chosen = [rows[i] for i in parcel]
            owners = torch.tensor([row.slot for row in chosen], device=self.base.device)
            nll, batch = self._forward(chosen, owners)
            share = torch.tensor([1 / targets[row.slot] for row in chosen], dtype=nll.dtype)
            terms = nll * batch.count * share.to(nll.device)[batch.row]
            if backward:
                self.stack.backward(terms.sum())
            losses.index_add_(0, owners[batch.row].cpu(), terms.detach().double().cpu())
        return losses

    def _width(self, row: Row) -> int:
        """Tokens of a row that run through adapted layers."""
        return len(row.example.ids) - (self.frozen.start(row.example) if self.frozen else 0)

    def _forward(self, rows: Sequence[Row], owners: Tensor) -> tuple[Tensor, Batch]:
        examples = [row.example for row in rows]
        if self.frozen:
            return self.frozen.target_nll(self.stack, examples, owners)
        batch = collate(examples, pad=self.base.pad, device=self.base.device)
        active = self.stack.active(
            [e.ids[: e.answer_start] for e in examples], batch.ids.shape[1] - 1
        )
        lengths = [len(e.ids) - 1 for e in examples]
        rate = self.lora.dropout if torch.is_grad_enabled() else 0.0
        drop = row_dropout(rate, [row.seed for row in rows], lengths)
        with self.stack.applied(owners, active=active, dropout=drop):
            return target_nll(self.base.model, batch), batch
