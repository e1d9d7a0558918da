"""The kinds of things that the engine can train: adapters, or gates on adapters.

Each is a row of parameters per slot that acts in the base's forward.
"""

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
    """What the engine trains for each person, and returns."""

    name: str
    """Part of the fingerprint of a checkpoint."""
    make_stack: Callable[[Base, Any, int], TrainableStack[V]]
    """Takes (base, config of the adapters, number of slots) and returns an empty stack."""
    supports_packing: bool
    """Whether it can act on packed sequences, if the kind of adapter can."""


ADAPTERS: AdapterKind[Adapter] = AdapterKind(
    name="adapters", make_stack=create_stack, supports_packing=True
)
GATES: AdapterKind[GateVectors] = AdapterKind(
    name="gates", make_stack=GateVectorStack, supports_packing=False
)
