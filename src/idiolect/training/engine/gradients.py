"""Losses and gradients of one step, for all people in slots, in as few forwards as fit.

A person's loss is the mean over their own target tokens. Losses are summed over people, so no
gradient of one person depends on another. The layout decides how rows become forwards:
``padded_layout.py`` or ``packed_layout.py``.

Shapes: ``U`` slots, ``N`` target tokens of one forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from idiolect.adapters.protocol import AdapterConfig
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.models.base import Base
from idiolect.training.engine.activation_cache import ActivationCache
from idiolect.training.engine.packed_layout import PackedLayout
from idiolect.training.engine.padded_layout import BatchRow, PaddedLayout


class StepRunner:
    """Runs rows forward and backward; the gradients end in the stack's ``grads``."""

    def __init__(
        self,
        base: Base,
        stack: TrainableStack[object],
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        share: bool = True,
        cache: ActivationCache | None = None,
        packed: bool = False,
    ) -> None:
        self.stack = stack
        self.padded_layout = PaddedLayout(
            base, stack, adapter_config, forward_tokens=forward_tokens, share=share, cache=cache
        )
        self.packed_layout: PackedLayout | None = None
        if packed:
            self.packed_layout = PackedLayout(base, stack, forward_tokens=forward_tokens)

    def forward_backward(self, rows: Sequence[BatchRow]) -> Tensor:
        """Compute losses and gradients; returns the mean loss of each slot [U], in nats, as
        fp64."""
        assert self.stack.grads is not None
        self.stack.grads.zero_()
        return self._run_layout(rows, backward=True)

    @torch.no_grad()
    def forward(self, rows: Sequence[BatchRow]) -> Tensor:
        """Compute the same losses without gradients."""
        return self._run_layout(rows, backward=False)

    def _run_layout(self, rows: Sequence[BatchRow], *, backward: bool) -> Tensor:
        """Run all rows through the layout; with ``backward``, add each forward's gradients."""
        # A target token's weight is 1 / (target tokens of its slot in this step), over all
        # forwards.
        targets = [0] * self.stack.num_slots
        for row in rows:
            targets[row.slot] += row.example.num_targets
        weight_U = torch.tensor([1 / max(1, n) for n in targets], dtype=torch.float64)
        slots: list[Tensor] = []
        found: list[Tensor] = []
        # Packed rows need attention over all tokens; otherwise this step's rows are padded.
        packed = self.packed_layout
        layout = packed if packed is not None and packed.supports(rows) else self.padded_layout
        for scored in layout.iter_forwards(rows):
            nll_N, slot_N = scored.nll, scored.slot
            terms_N = nll_N * scored.count * weight_U.to(nll_N.dtype).to(nll_N.device)[slot_N]
            if backward:
                self.stack.backward(terms_N.sum())
            slots.append(slot_N)
            found.append(terms_N.detach())
        # Read the losses at the end: copying to the CPU earlier would wait for the device.
        losses = torch.zeros(self.stack.num_slots, dtype=torch.float64)
        return losses.index_add_(0, torch.cat(slots).cpu(), torch.cat(found).cpu().double())
