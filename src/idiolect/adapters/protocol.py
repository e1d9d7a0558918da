"""What every kind of adapter is and can do: the store, checkpoints, audits, serving and erasure see
only this, so that a new kind changes none of them (``kinds.py`` registers it).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol, Self

from torch import Tensor

from idiolect.models.base import Base


class AdapterConfig(Protocol):
    """The settings of one kind of adapter: a frozen dataclass that ``to_plain`` can write."""

    kind: ClassVar[str]
    """The kind's name: the tag by which files and the registry know it. ``"lora"`` is one."""

    @property
    def dropout(self) -> float:
        """The rate at which inputs are dropped in training; 0 if the kind knows no dropout."""
        ...

    @property
    def active(self) -> Literal["all", "answer"]:
        """The tokens on which adapters act: all, or from the call for an answer on."""
        ...

    @property
    def top_layers(self) -> int:
        """How many of the last layers are adapted, 0 for all."""
        ...

    @property
    def description(self) -> str:
        """The settings in words, for messages."""
        ...

    def is_same_kind(self, other: AdapterConfig, /) -> bool:
        """Whether adapters of both mean the same with the same tensors."""
        ...

    def check_model(self, model: Any) -> None:
        """Raise UsageError if the model has no place for such adapters."""
        ...

    def count_numbers(self, model: Any) -> int:
        """How many numbers one adapter has on this model; raises as ``check_model``."""
        ...


class Adapter(Protocol):
    """One person's adapter as an immutable value: settings, the base it was made for, tensors."""

    @property
    def config(self) -> AdapterConfig: ...

    @property
    def base(self) -> str:
        """The identity of the base it was made for."""
        ...

    @property
    def num_bytes(self) -> int:
        """The size of its tensors."""
        ...

    def check_matches_base(self, base: Base, config: AdapterConfig | None = None) -> Self:
        """Itself, if it fits the base (and is of the config's kind).

        Raises MismatchError for another base, kind or shape, IntegrityError for a number that is
        not finite.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, as the store writes them. All adapters of equal settings on one base
        have the same names and shapes; the registry's ``from_tensors`` turns them back."""
        ...

    def content_hash(self) -> str:
        """A SHA-256 over names and numbers (hex): equal for equal adapters only."""
        ...

    def stored_forms(self) -> Iterator[Tensor]:
        """Every tensor in each form in which any of our files hold it, also in exports: what a
        search for copies of it compares."""
        ...

    def personal_forms(self) -> Iterator[Tensor]:
        """Those of ``stored_forms`` that are this person's own, not shared by everyone."""
        ...
