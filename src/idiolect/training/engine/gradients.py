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
from idiolect.training.engine.activation_cache import Frozen
from idiolect.training.engine.packed_layout import PackedRows
from idiolect.training.engine.padded_layout import PaddedRows, Row


class Gradients:
    """Runs rows forward and backward; the gradients end in the stack's buffer."""

    def __init__(
        self,
        base: Base,
        stack: TrainableStack[object],
        adapter_config: AdapterConfig,
        *,
        forward_tokens: int,
        share: bool = True,
        frozen: Frozen | None = None,
        packed: bool = False,
    ) -> None:
        self.stack = stack
        self.padded = PaddedRows(
            base, stack, adapter_config, forward_tokens=forward_tokens, share=share, frozen=frozen
        )
        self.packed: PackedRows | None = None
        if packed:
            self.packed = PackedRows(base, stack, forward_tokens=forward_tokens)

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
        share = torch.tensor([1 / max(1, n) for n in targets], dtype=torch.float64)
        slots: list[Tensor] = []
        found: list[Tensor] = []
        packed = self.packed
        layout = packed if packed is not None and packed.takes(rows) else self.padded
        for scored in layout.forwards(rows):
            nll, slot = scored.nll, scored.slot
            terms = nll * scored.count * share.to(nll.dtype).to(nll.device)[slot]
            if backward:
                self.stack.backward(terms.sum())
            slots.append(slot)
            found.append(terms.detach())
        # Read at the end: a device is not waited for between forwards.
        losses = torch.zeros(self.stack.slots, dtype=torch.float64)
        return losses.index_add_(0, torch.cat(slots).cpu(), torch.cat(found).cpu().double())
