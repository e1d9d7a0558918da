"""One step's losses and gradients of everyone who is seated, in as few forwards as fit.

A person's loss is the mean over their own target tokens; losses are summed over people, so no
gradient of one depends on another. How rows become forwards is the layout's: ``rows.py``, or
``packed_rows.py``.
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
    """Runs rows forward and backward; the gradients end in the stack's buffer."""

    def __init__(
        self,
        base: Base,
        stack: TrainableStack[object],
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        share: bool = True,
        frozen: ActivationCache | None = None,
        packed: bool = False,
    ) -> None:
        self.stack = stack
        self.padded_layout = PaddedLayout(
            base, stack, adapter_config, forward_tokens=forward_tokens, share=share, frozen=frozen
        )
        self.packed_layout: PackedLayout | None = None
        if packed:
            self.packed_layout = PackedLayout(base, stack, forward_tokens=forward_tokens)

    def forward_backward(self, rows: Sequence[BatchRow]) -> Tensor:
        """Each slot's mean loss per target token [U], fp64 on the CPU."""
        assert self.stack.grads is not None
        self.stack.grads.zero_()
        return self._run_layout(rows, backward=True)

    @torch.no_grad()
    def forward(self, rows: Sequence[BatchRow]) -> Tensor:
        """As ``add`` gives, without gradients."""
        return self._run_layout(rows, backward=False)

    def _run_layout(self, rows: Sequence[BatchRow], *, backward: bool) -> Tensor:
        targets = [0] * self.stack.num_slots
        for row in rows:
            targets[row.slot] += row.example.num_targets
        share = torch.tensor([1 / max(1, n) for n in targets], dtype=torch.float64)
        slots: list[Tensor] = []
        found: list[Tensor] = []
        packed = self.packed_layout
        layout = packed if packed is not None and packed.supports(rows) else self.padded_layout
        for scored in layout.iter_forwards(rows):
            nll, slot = scored.nll, scored.slot
            terms = nll * scored.count * share.to(nll.dtype).to(nll.device)[slot]
            if backward:
                self.stack.backward(terms.sum())
            slots.append(slot)
            found.append(terms.detach())
        # Read at the end: a device is not waited for between forwards.
        losses = torch.zeros(self.stack.num_slots, dtype=torch.float64)
        return losses.index_add_(0, torch.cat(slots).cpu(), torch.cat(found).cpu().double())
