"""The LoRA adapters of many people in one forward: stacked tensors, and the hooks that apply them.

Shapes: ``U`` slots, ``P`` parameters of a slot, ``B`` rows of a batch, ``T`` tokens, ``N`` tokens
without padding, ``D``/``O`` input and output width of a module, ``R`` rank. Row ``i`` of a batch
belongs to slot ``rows[i]``; slot -1 is the bare base, without an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import Hook, forward_hooks
from idiolect.adapters.lora import (
    LoraAdapter,
    LoraConfig,
    require_lora,
    target_modules,
)
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import Dropout, TrainableStack
from idiolect.adapters.stacks.ops_packed import (
    TokenGroups,
    packed_lora_forward,
    packed_lora_forward_autograd,
)
from idiolect.adapters.stacks.ops_padded import (
    LoraWeights,
    SlotIndex,
    lora_forward,
    lora_forward_autograd,
    run_as_one_row,
)
from idiolect.adapters.targets.linear import TargetModule
from idiolect.models.base import Base


class LoraStack(TrainableStack[LoraAdapter]):
    """The LoRA adapters of ``U`` slots: A [U + 1, R, D] and B [U + 1, O, R] of each module as views
    of one buffer, with the zero slot last.

    ``weights`` and ``grads`` are [U, P]: row ``u`` holds everything of slot ``u``, all A before all
    B, so an optimizer updates one person's row as a whole, from column ``trainable_offset`` on.
    """

    def __init__(
        self, base: Base, config: LoraConfig, slots: int, *, dtype: torch.dtype | None = None
    ) -> None:
        self.config = config = config.resolve_for(base.model)
        self.target_modules: tuple[TargetModule, ...] = target_modules(base.model, config)
        size = sum(config.rank * (s.inputs + s.outputs) for s in self.target_modules)
        super().__init__(base, slots=slots, size=size, dtype=dtype, active=config.active)
        self.pairs: dict[str, tuple[Tensor, Tensor]] = self._split_buffer(self._weights_with_zero)
        # A shared A is frozen: only the columns of B, which come after all A, are trained.
        all_a = config.rank * sum(s.inputs for s in self.target_modules)
        self.trainable_offset = all_a if config.shared_a else 0

    def _split_buffer(self, buffer: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the views (A [U, R, D], B [U, O, R]) of each module into a [U, P] buffer."""
        rank = self.config.rank
        # All A come first, so that a shared A is a prefix that the optimizer can skip.
        a_sizes = [rank * module.inputs for module in self.target_modules]
        b_sizes = [rank * module.outputs for module in self.target_modules]
        parts = buffer.split([*a_sizes, *b_sizes], dim=1)
        return {
            module.path: (a.view(-1, rank, module.inputs), b.view(-1, module.outputs, rank))
            for module, a, b in zip(
                self.target_modules, parts[: len(a_sizes)], parts[len(a_sizes) :], strict=True
            )
        }

    @torch.no_grad()
    def load_slot(self, slot: int, adapter: Adapter) -> None:
        """Copy an adapter into a slot; raises the same errors as ``Adapter.check_matches_base``."""
        # Check before copying, so that a failure leaves the slot unchanged.
        adapter = require_lora(adapter.check_matches_base(self.base, self.config))
        for path, (a, b) in self.pairs.items():
            source = adapter.pairs[path]
            a[slot].copy_(source[0])
            b[slot].copy_(source[1])

    def from_row(self, row: Tensor) -> LoraAdapter:
        """Return the adapter in a row [P] of this stack; it shares the row's memory."""
        # One row is a buffer with a single slot.
        views = self._split_buffer(row[None])
        pairs = {path: (a[0], b[0]) for path, (a, b) in views.items()}
        return LoraAdapter(config=self.config, base=self.base.identity, pairs=pairs)

    @contextmanager
    def activate(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> Iterator[None]:
        """Inside the context, the base's forward adds the adapter of slot ``rows[i]`` to row ``i``.

        ``rows``: [B] long, -1 for the bare base. ``active``: what ``token_mask`` returned. The
        base's own weights do not change.
        """
        self._require_one_slot(rows, self.pairs)
        scale = self.weights.new_full((1, 1, 1), self.config.scale)
        slot_index = SlotIndex(self._select_zero_slot(rows), scale, active)
        with self._register_hooks(
            lambda pair, number: self._make_hook(pair, slot_index, number, dropout)
        ):
            yield

    @contextmanager
    def activate_packed(self, slots: Sequence[int], sizes: Sequence[int]) -> Iterator[None]:
        """Inside the context, the base's forward of tokens [1, N] adds the adapter of slot
        ``slots[0]`` to the first ``sizes[0]`` tokens, that of ``slots[1]`` to the next
        ``sizes[1]``, and so on; each slot occurs once, and -1 is the bare base."""
        assert self.base.ways.flat_modules.isdisjoint(self.pairs)
        numbers = [slot if slot >= 0 else self.num_slots for slot in slots]
        tokens = TokenGroups.from_slots(numbers, sizes, self.config.scale, self.weights)
        with self._register_hooks(lambda pair, _: self._make_packed_hook(pair, tokens)):
            yield

    @contextmanager
    def _register_hooks(self, hook: Callable[[LoraWeights, int], Hook]) -> Iterator[None]:
        """Inside the context, each module has the forward hook that ``hook`` makes from its weights
        and number."""
        buffer = self._grads_with_zero
        grads = self._split_buffer(buffer) if buffer is not None else {}
        # The hooks compute in the base's dtype; gradients are added in the dtype of ``weights``.
        cast = self._split_buffer(self._weights_with_zero.to(self.base.dtype))
        hooks: dict[str, Hook] = {}
        for number, module in enumerate(self.target_modules):
            grad_a, grad_b = grads.get(module.path, (None, None))
            pair = LoraWeights(*cast[module.path], None if self.config.shared_a else grad_a, grad_b)
            hooks[module.path] = hook(pair, number)
        with forward_hooks(self.base.model, hooks):
            yield

    def _make_hook(
        self, pair: LoraWeights, rows: SlotIndex, number: int, dropout: Dropout | None
    ) -> Hook:
        """Return a forward hook that adds each row's ``scale * B A x`` to a module's output."""
        is_flat = self.target_modules[number].path in self.base.ways.flat_modules

        def compute(out: Tensor, x: Tensor, rows: SlotIndex) -> Tensor:
            if not self._is_training:
                return lora_forward(out, x, pair, rows)
            return lora_forward_autograd(self._autograd_anchor, out, x, pair, rows)

        def add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x_BTD = inputs[0] if dropout is None else dropout(inputs[0], number)
            if is_flat:
                return run_as_one_row(compute, output, x_BTD, rows)
            return compute(output, x_BTD, rows)

        return add_update

    def _make_packed_hook(self, pair: LoraWeights, tokens: TokenGroups) -> Hook:
        """The same for the tokens of one packed row."""

        def add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x_ND, out_NO = inputs[0][0], output[0]
            if not self._is_training:
                return packed_lora_forward(out_NO, x_ND, pair, tokens)[None]
            return packed_lora_forward_autograd(self._autograd_anchor, out_NO, x_ND, pair, tokens)[
                None
            ]

        return add_update
