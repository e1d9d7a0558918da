"""What the engine can train: rows of numbers, one for each seat, that act in the base's forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.stacks.base import Dropout
from idiolect.adapters.stacks.gates import Gates, GateStack
from idiolect.adapters.stacks.lora import Stack
from idiolect.models.base import Base

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class TrainedStack(Protocol[V_co]):
    """What ``U`` people train, as rows of one buffer [U, P], and how it acts: see ``Stack``."""

    weights: Tensor
    grads: Tensor | None
    trained_from: int

    @property
    def slots(self) -> int: ...

    def train(self) -> TrainedStack[V_co]: ...

    def backward(self, loss: Tensor) -> None: ...

    def active(
        self, ids: Sequence[Sequence[int]], width: int, *, left: bool = False
    ) -> Tensor | None: ...

    def applied(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> AbstractContextManager[None]: ...

    def put(self, slot: int, adapter: LoraAdapter) -> None: ...

    def unpack(self, row: Tensor) -> V_co: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[V]):
    """What is trained of everyone, and comes out."""

    name: str
    """Part of what a checkpoint is recognized by."""
    stack: Callable[[Base, LoraConfig, int], TrainedStack[V]]
    """Makes one for so many seats."""
    packs: bool
    """Whether it acts on tokens without padding too."""


ADAPTERS: Kind[LoraAdapter] = Kind(name="adapters", stack=Stack, packs=True)
GATES: Kind[Gates] = Kind(name="gates", stack=GateStack, packs=False)
