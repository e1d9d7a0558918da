"""The gates of sharers (Per-Pcs): one sharer's gates as a value, and the gates of many in a stack.

A gate scales a module's frozen adapter token by token (``ops_gated.py``). Its direction ``g`` shows
on which activations it opens; assembly later chooses pieces by it.

Shapes: ``U`` slots, ``P`` parameters of a slot, ``B`` rows of a batch, ``D`` input width of a
module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import Hook, forward_hooks
from idiolect.adapters.lora import LoraConfig, target_modules
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import Dropout, TrainableStack
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.adapters.stacks.ops_gated import (
    GatedLoraWeights,
    gated_lora_forward,
    gated_lora_forward_autograd,
)
from idiolect.adapters.stacks.ops_padded import SlotIndex, run_as_one_row
from idiolect.adapters.targets.linear import TargetModule
from idiolect.errors import IntegrityError, MismatchError
from idiolect.models.base import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVectors:
    """One sharer's gates: a vector g [D] for each module path."""

    config: LoraConfig
    """The config of the adapter that they scale."""
    base: str
    """The identity of the base on which they were trained."""
    vectors: Mapping[str, Tensor]

    @property
    def defect(self) -> str | None:
        """The first unusable gate and why, None if all are usable. Assembly compares directions
        around the mean, so a gate with all entries equal has no direction."""
        for path, gate in self.vectors.items():
            if not torch.isfinite(gate).all():
                return f"of {path} contains a number that is not finite"
            if bool((gate == gate[0]).all()):
                return f"of {path} has the same value in all entries, {float(gate[0]):g}"
        return None

    def check_matches_base(self, base: Base, config: LoraConfig | None = None) -> GateVectors:
        """Return the gates themselves if they fit the base (and the config, if given).

        Raises MismatchError for another base, kind or shape, IntegrityError if a gate has a defect.
        """
        # The config first: other settings explain other shapes.
        config = config and config.resolve_for(base.model)
        if config is not None and not config.is_same_kind(self.config):
            raise MismatchError(
                f"gates are for adapters with {self.config.description}, expected "
                f"{config.description}"
            )
        if self.base != base.identity:
            raise MismatchError(
                f"gates were made for base {self.base[:12]}, but this base is "
                f"{base.identity[:12]} ({base.name}); load the base they were trained on"
            )
        # Compare paths and shapes together; name the first difference.
        found = {path: tuple(gate.shape) for path, gate in self.vectors.items()}
        expected = {
            module.path: (module.inputs,) for module in target_modules(base.model, self.config)
        }
        if found != expected:
            path = min(path for path, _ in found.items() ^ expected.items())
            raise MismatchError(
                f"gate {path}: shape {found.get(path)}, the base needs {expected.get(path)}"
            )
        if self.defect:
            raise IntegrityError(f"the gate {self.defect}")
        return self


class GateVectorStack(TrainableStack[GateVectors]):
    """The gates of ``U`` slots in one buffer, next to each slot's frozen adapter.

    ``weights`` and ``grads`` are [U, P]: row ``u`` holds all gates of slot ``u`` in the order of
    the modules, and all of it is trained.
    """

    def __init__(self, base: Base, config: LoraConfig, slots: int) -> None:
        self.lora_stack = LoraStack(base, config, slots, dtype=base.dtype)
        self.config = self.lora_stack.config
        self.target_modules: tuple[TargetModule, ...] = self.lora_stack.target_modules
        # The optimizer sees the gates only.
        super().__init__(
            base, slots=slots, size=sum(module.inputs for module in self.target_modules)
        )

    def _split_buffer(self, buffer: Tensor) -> dict[str, Tensor]:
        """Return the gates [U, D] of each module as views of a [U, P] buffer."""
        parts = buffer.split([module.inputs for module in self.target_modules], dim=1)
        return {module.path: part for module, part in zip(self.target_modules, parts, strict=True)}

    def token_mask(
        self, ids: Sequence[Sequence[int]], width: int, *, left: bool = False
    ) -> Tensor | None:
        """As ``TrainableStack.token_mask``; gates act on the same tokens as the adapters."""
        return self.lora_stack.token_mask(ids, width, left=left)

    @torch.no_grad()
    def load_slot(self, slot: int, adapter: Adapter) -> None:
        """Load a sharer's adapter and set the gates to zero; raises the same errors as
        ``Adapter.check_matches_base``."""
        self.lora_stack.load_slot(slot, adapter)
        self.weights[slot].zero_()

    def from_row(self, row: Tensor) -> GateVectors:
        """Return the gates in a row [P] of this stack; they share the row's memory."""
        vectors = {path: gate[0] for path, gate in self._split_buffer(row[None]).items()}
        return GateVectors(config=self.config, base=self.base.identity, vectors=vectors)

    @contextmanager
    def activate(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> Iterator[None]:
        """Inside the context, the base's forward adds the gated adapter of slot ``rows[i]`` to row
        ``i``.

        As ``TrainableStack.activate``, but the frozen adapter runs without dropout.
        """
        assert dropout is None
        self._require_one_slot(rows, self.lora_stack.pairs)
        scale = self.weights.new_full((1, 1, 1), self.config.scale)
        slot_index = SlotIndex(self._select_zero_slot(rows), scale, active)
        # Compute in the base's dtype; gradients go to views of ``grads`` in the stack's dtype.
        gates = self._split_buffer(self._weights_with_zero.to(self.base.dtype))
        buffer = self._grads_with_zero
        grads = self._split_buffer(buffer) if buffer is not None else {}
        hooks = {
            path: self._make_hook(
                GatedLoraWeights(gate, *self.lora_stack.pairs[path], grads.get(path)),
                slot_index,
                is_flat=path in self.base.ways.flat_modules,
            )
            for path, gate in gates.items()
        }
        with forward_hooks(self.base.model, hooks):
            yield

    def _make_hook(self, module: GatedLoraWeights, rows: SlotIndex, *, is_flat: bool) -> Hook:
        """Return a forward hook that adds each row's gated update to a module's output."""

        def compute(out: Tensor, x: Tensor, rows: SlotIndex) -> Tensor:
            if not self._is_training:
                return gated_lora_forward(out, x, module, rows)
            return gated_lora_forward_autograd(self._autograd_anchor, out, x, module, rows)

        def add_update(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if is_flat:
                return run_as_one_row(compute, output, inputs[0], rows)
            return compute(output, inputs[0], rows)

        return add_update
