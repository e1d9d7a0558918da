"""Base class of all stacks: one row of parameters per slot, its gradients, and the token mask.

Shapes: ``U`` slots, ``P`` parameters of a slot, ``B`` rows of a batch, ``T`` tokens, ``N`` tokens
without padding, ``D`` input width of a module. Row ``i`` of a batch belongs to slot ``rows[i]``;
slot -1 is the bare base, without an adapter.

Rows of the bare base use a zero slot of their own, behind the people's slots. If they used a
person's slot at scale 0, a huge adapter there would turn them into NaN: infinity times zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Generic, Literal, Self, TypeVar

import torch
from torch import Tensor

from idiolect.adapters.protocol import Adapter
from idiolect.models.base import Base
from idiolect.prompts.chat_template import encode_invocation, find_invocation

V_co = TypeVar("V_co", covariant=True)

Dropout = Callable[[Tensor, int], Tensor]
"""(input of a module [B, T, D], number of the module) -> the input with entries dropped."""


class TrainableStack(ABC, Generic[V_co]):
    """``U`` slots of parameters that one forward of the base applies, each slot to its own rows.

    ``weights`` and ``grads`` are [U, P]: row ``u`` holds all parameters of slot ``u``, so an
    optimizer updates one person's row as a whole, from column ``trainable_offset`` on. A subclass
    defines the value that one row represents (``V_co``), and the forward hooks.
    """

    def __init__(
        self,
        base: Base,
        *,
        slots: int,
        size: int,
        dtype: torch.dtype | None = None,
        active: Literal["all", "answer"] = "all",
    ) -> None:
        """Allocate zeros for ``slots`` rows of ``size`` parameters, in ``dtype`` or by default in
        fp32 (fp64 if the base is fp64)."""
        # Adapters are trained in fp32 even if the base runs in bf16.
        if dtype is None:
            dtype = torch.float64 if base.dtype == torch.float64 else torch.float32
        self.base = base
        # One row more than slots: the last row is the zero slot, and stays zero.
        self._weights_with_zero = torch.zeros(slots + 1, size, dtype=dtype, device=base.device)
        self._grads_with_zero: Tensor | None = None
        self.weights = self._weights_with_zero[:slots]
        self.grads: Tensor | None = None
        self.trainable_offset = 0
        self.invocation = encode_invocation(base.tokenizer) if active == "answer" else ()
        self._autograd_anchor = torch.zeros((), dtype=dtype, device=base.device)
        """A leaf that requires grad in training, so that autograd runs the hooks' backward although
        no weight of the base requires grad."""

    @property
    def num_slots(self) -> int:
        """The number of slots."""
        return self.weights.shape[0]

    def train(self) -> Self:
        """Allocate ``grads`` [U, P], to which ``backward`` then adds gradients."""
        self._grads_with_zero = torch.zeros_like(self._weights_with_zero)
        self.grads = self._grads_with_zero[: self.num_slots]
        self._autograd_anchor.requires_grad_()
        return self

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to ``grads``, each slot's in its own row."""
        assert self.grads is not None
        # The hooks' backward adds to ``grads`` itself; only the anchor gets an autograd gradient.
        loss.backward()
        self._autograd_anchor.grad = None

    def _select_zero_slot(self, rows: Tensor) -> Tensor:
        """Return the rows' slots [B] with the zero slot in place of -1."""
        return rows.masked_fill(rows < 0, self.num_slots)

    def _require_one_slot(self, rows: Tensor, paths: Iterable[str]) -> None:
        """Check that all rows [B] have one slot, if a module among ``paths`` does not keep rows
        apart; ``RowGrouper`` forms such forwards."""
        if not self.base.ways.flat_modules.isdisjoint(paths):
            assert bool((rows == rows[0]).all()), "rows of several people share a forward"

    @property
    def _is_training(self) -> bool:
        return self.grads is not None and torch.is_grad_enabled()

    def token_mask(
        self, ids: Sequence[Sequence[int]], width: int, *, left: bool = False
    ) -> Tensor | None:
        """Return a mask [B, width, 1] that is 1 on the tokens on which the slots act; None means
        on all tokens.

        ``ids``: the prompts, one per row. ``left``: rows are padded on the left. Raises UsageError
        if a prompt does not ask for an answer.
        """
        # Adapters that act on all tokens need no mask.
        if not self.invocation:
            return None
        mask_BT1 = torch.zeros(len(ids), width, 1, dtype=self.weights.dtype)
        for row, tokens in enumerate(ids):
            # Left padding shifts the prompt to the right.
            start = find_invocation(tokens, self.invocation)
            mask_BT1[row, (width - len(tokens) if left else 0) + start :] = 1
        return mask_BT1.to(self.base.device)

    @abstractmethod
    def load_slot(self, slot: int, adapter: Adapter) -> None:
        """Set a slot to a person's adapter, or to the parameters that are trained on top of it.

        Raises the same errors as ``Adapter.check_matches_base``; the slot is then unchanged.
        """

    @abstractmethod
    def from_row(self, row: Tensor) -> V_co:
        """Return the value that a row [P] of this stack represents; it shares the row's memory."""

    @abstractmethod
    def activate(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> AbstractContextManager[None]:
        """Inside the context, the base's forward applies slot ``rows[i]`` to batch row ``i``.

        ``rows``: [B] long, -1 for the bare base. ``active``: what ``token_mask`` returned. The
        base's own weights do not change.
        """

    def activate_packed(
        self, slots: Sequence[int], sizes: Sequence[int]
    ) -> AbstractContextManager[None]:
        """Inside the context, the base's forward of tokens [1, N] applies slot ``slots[0]`` to the
        first ``sizes[0]`` tokens, slot ``slots[1]`` to the next ``sizes[1]``, and so on.

        Each slot occurs once; -1 is the bare base. Only kinds with ``KindSpec.packs`` implement
        this; other stacks raise NotImplementedError.
        """
        raise NotImplementedError(f"{type(self).__name__} runs padded rows only")


def slots_of(people: Sequence[str], slots: Mapping[str, int], device: torch.device) -> Tensor:
    """Return the slot of each row [B]; -1 for people without an adapter."""
    return torch.tensor([slots.get(p, -1) for p in people], dtype=torch.long, device=device)
