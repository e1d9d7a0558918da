"""What the engine can train: rows of numbers, one for each seat, that act in the base's forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from idiolect.adapters.kinds import create_stack
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.adapters.stacks.gates import GateVectors, GateVectorStack
from idiolect.models.base import Base

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterKind(Generic[V]):
    """What is trained for each person, and comes out."""

    name: str
    """Part of what a checkpoint is recognized by."""
    make_stack: Callable[[Base, Any, int], TrainableStack[V]]
    """(base, config of the adapters, slots) to an empty stack."""
    supports_packing: bool
    """Whether it can act on tokens without padding, if the kind of adapter can."""


ADAPTERS: AdapterKind[Adapter] = AdapterKind(
    name="adapters", make_stack=create_stack, supports_packing=True
)
GATES: AdapterKind[GateVectors] = AdapterKind(
    name="gates", make_stack=GateVectorStack, supports_packing=False
)
