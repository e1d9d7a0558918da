"""The gates of sharers: as a value, and many stacked for one forward.

A gate opens a module's frozen adapter token by token (``gated.py``). What it learned is in which
activations it opens: the direction of ``g``, by which pieces are chosen later.

Shapes: ``U`` slots, ``B`` rows of a batch, ``D`` width of a module's input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import Hook, forward_hooks
from idiolect.adapters.lora import LoraConfig, TargetModule, target_modules
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import Dropout, TrainableStack
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.adapters.stacks.ops_gated import (
    GatedLoraWeights,
    gated_lora_forward,
    gated_lora_forward_autograd,
)
from idiolect.adapters.stacks.ops_padded import SlotIndex
from idiolect.errors import IntegrityError, MismatchError
from idiolect.models.base import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVectors:
    """One sharer's gates: per site path a vector g [D]."""

    config: LoraConfig
    """Of the adapter that they open."""
    base: str
    """The identity of the base that they were trained on."""
    vectors: Mapping[str, Tensor]

    @property
    def defect(self) -> str | None:
        """Which gate says nothing and why, ``None`` where all are of use: only directions around
        the mean are compared, so all entries alike are as none."""
        for path, gate in self.vectors.items():
            if not torch.isfinite(gate).all():
                return f"of {path} holds a number that is not finite"
            if bool((gate == gate[0]).all()):
                return f"of {path} has the same in all entries, {float(gate[0]):g}"
        return None

    def check_matches_base(self, base: Base, config: LoraConfig | None = None) -> GateVectors:
        """Themselves, if they fit the base (and adapters of the config's kind).

        Raises MismatchError for another base, kind or shape, IntegrityError for a gate that is not
        finite or says nothing.
        """
        if config is not None and not config.is_same_kind(self.config):
            raise MismatchError(
                f"gates are for adapters with {self.config.description}; here is "
                f"{config.description}"
            )
        if self.base != base.identity:
            raise MismatchError(
                f"gates were made for base {self.base[:12]}, this is {base.identity[:12]} "
                f"({base.name}); load the base they were trained on"
            )
        found = {path: tuple(gate.shape) for path, gate in self.vectors.items()}
        wanted = {site.path: (site.inputs,) for site in target_modules(base.model, self.config)}
        if found != wanted:
            odd = min(path for path, _ in found.items() ^ wanted.items())
            raise MismatchError(
                f"gate {odd}: shape {found.get(odd)}, the base needs {wanted.get(odd)}"
            )
        if self.defect:
            raise IntegrityError(f"the gate {self.defect}")
        return self


class GateVectorStack(TrainableStack[GateVectors]):
    """The gates of ``U`` slots, views of one buffer, beside each slot's frozen adapter.

    ``weights`` and ``grads`` are [U, P]: all gates of slot ``u`` lie in row ``u``, in the order of
    the sites, and all of it is trained.
    """

    def __init__(self, base: Base, config: LoraConfig, slots: int) -> None:
        self.config = config
        self.lora_stack = LoraStack(base, config, slots, dtype=base.dtype)
        self.target_modules: tuple[TargetModule, ...] = self.lora_stack.target_modules
        super().__init__(base, slots=slots, size=sum(site.inputs for site in self.target_modules))

    def _split_buffer(self, buffer: Tensor) -> dict[str, Tensor]:
        """Per site the gates [U, D] of a [U, P] buffer."""
        parts = buffer.split([site.inputs for site in self.target_modules], dim=1)
        return {site.path: part for site, part in zip(self.target_modules, parts, strict=True)}

    def token_mask(
        self, ids: Sequence[Sequence[int]], width: int, *, left: bool = False
    ) -> Tensor | None:
        """On which tokens adapters and gates act, as ``Stack.active``."""
        return self.lora_stack.token_mask(ids, width, left=left)

    @torch.no_grad()
    def load_slot(self, slot: int, adapter: Adapter) -> None:
        """Seat a sharer: their adapter, and gates of zero; raises as ``Adapter.check``."""
        self.lora_stack.load_slot(slot, adapter)
        self.weights[slot].zero_()

    def from_row(self, row: Tensor) -> GateVectors:
        """The gates in a row [P] as this stack lays it out; share the row's memory."""
        vectors = {path: gate[0] for path, gate in self._split_buffer(row[None]).items()}
        return GateVectors(config=self.config, base=self.base.identity, vectors=vectors)

    @contextmanager
    def activate(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> Iterator[None]:
        """While inside, the base's forward adds to row ``i`` the gated adapter of slot ``rows[i]``.

        As ``Stack.applied``; a frozen adapter is run without dropout.
        """
        assert dropout is None
        kept = (rows >= 0).to(self.weights.dtype) * self.config.scale
        whose = SlotIndex(rows.clamp_min(0), kept[:, None, None], active)
        gates = self._split_buffer(self.weights.to(self.base.dtype))
        grads = self._split_buffer(self.grads) if self.grads is not None else {}
        hooks = {
            path: self._make_hook(
                GatedLoraWeights(gate, *self.lora_stack.pairs[path], grads.get(path)), whose
            )
            for path, gate in gates.items()
        }
        with forward_hooks(self.base.model, hooks):
            yield

    def _make_hook(self, module: GatedLoraWeights, rows: SlotIndex) -> Hook:
        """A forward hook that adds each row's own gated update to a module's output."""

        def add_update(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not self._is_training:
                return gated_lora_forward(output, inputs[0], module, rows)
            return gated_lora_forward_autograd(
                self._autograd_anchor, output, inputs[0], module, rows
            )

        return add_update
