"""What every stack shares: one row of numbers for each slot, its gradients, and where it acts.

Shapes: ``U`` slots, ``P`` numbers of a slot, ``B`` rows of a batch, ``T`` tokens, ``D`` width of a
module's input. Row ``i`` of a batch belongs to slot ``rows[i]``; slot -1 is the bare base.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Generic, Literal, Self, TypeVar

import torch
from torch import Tensor

from idiolect.adapters.protocol import Adapter
from idiolect.models.base import Base
from idiolect.prompts.chat_template import encode_invocation, find_invocation

V_co = TypeVar("V_co", covariant=True)

Dropout = Callable[[Tensor, int], Tensor]
"""Takes a module's input [B, T, D] and the module's number, returns it with entries dropped."""


class TrainableStack(ABC, Generic[V_co]):
    """``U`` slots of numbers that act in one forward of the base, each on its own rows.

    ``weights`` and ``grads`` are [U, P]: all numbers of slot ``u`` lie in row ``u``, so an
    optimizer works on one person's row as a whole, from column ``trained_from`` on. A subclass
    says what the numbers mean (``V_co``: what one row becomes) and how they act.
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
        """Allocate zeros for ``slots`` rows of ``size`` numbers, in fp32 (fp64 if the base is)
        unless ``dtype`` says otherwise."""
        if dtype is None:
            dtype = torch.float64 if base.dtype == torch.float64 else torch.float32
        self.base = base
        self.weights = torch.zeros(slots, size, dtype=dtype, device=base.device)
        self.grads: Tensor | None = None
        self.trainable_offset = 0
        self.invocation = encode_invocation(base.tokenizer) if active == "answer" else ()
        self._autograd_anchor = torch.zeros((), dtype=dtype, device=base.device)
        """A leaf that makes autograd run the hooks' backward though no weight requires grad."""

    @property
    def num_slots(self) -> int:
        """The number of slots."""
        return self.weights.shape[0]

    def train(self) -> Self:
        """Let ``backward`` add gradients to ``grads`` [U, P]."""
        self.grads = torch.zeros_like(self.weights)
        self._autograd_anchor.requires_grad_()
        return self

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to ``grads``, each slot's in its own row."""
        assert self.grads is not None
        loss.backward()
        self._autograd_anchor.grad = None

    @property
    def _is_training(self) -> bool:
        return self.grads is not None and torch.is_grad_enabled()

    def token_mask(
        self, ids: Sequence[Sequence[int]], width: int, *, left: bool = False
    ) -> Tensor | None:
        """On which tokens of these prompts the slots act [B, width, 1]; ``None`` means on all.

        ``left``: the rows are padded on the left. Raises UsageError for a text that asks for no
        answer.
        """
        if not self.invocation:
            return None
        out = torch.zeros(len(ids), width, 1, dtype=self.weights.dtype)
        for row, tokens in enumerate(ids):
            start = find_invocation(tokens, self.invocation)
            out[row, (width - len(tokens) if left else 0) + start :] = 1
        return out.to(self.base.device)

    @abstractmethod
    def load_slot(self, slot: int, adapter: Adapter) -> None:
        """Set a slot to what a person starts from: their adapter, or what is trained beside it.

        Raises as ``Adapter.check``; the slot is then as it was.
        """

    @abstractmethod
    def from_row(self, row: Tensor) -> V_co:
        """What a row [P] of this stack holds, as a value that shares the row's memory."""

    @abstractmethod
    def activate(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> AbstractContextManager[None]:
        """While inside, the base's forward adds to batch row ``i`` what slot ``rows[i]`` holds.

        ``rows``: [B] long, -1 for the bare base. ``active``: as ``active`` returns it. The base's
        own weights are never touched.
        """

    def activate_packed(
        self, slots: Sequence[int], sizes: Sequence[int]
    ) -> AbstractContextManager[None]:
        """While inside, the base's forward of tokens [1, N] adds to the first ``sizes[0]`` of them
        what slot ``slots[0]`` holds, and so on; each slot comes once.

        Only stacks of kinds that say so have it; others raise NotImplementedError.
        """
        raise NotImplementedError(f"{type(self).__name__} runs padded rows only")


def slots_of(people: Sequence[str], slots: Mapping[str, int], device: torch.device) -> Tensor:
    """Each row's slot [B], -1 for people without an adapter."""
    return torch.tensor([slots.get(p, -1) for p in people], dtype=torch.long, device=device)
