"""The interface of every kind of adapter.

The store, checkpoints, audits, serving and erasure use adapters only through these two protocols,
so a new kind changes none of them. ``kinds.py`` registers the kinds; ``lora.py`` implements one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol, Self

from torch import Tensor

from idiolect.models.base import Base


class AdapterConfig(Protocol):
    """The settings of one kind of adapter: a frozen dataclass that ``config.to_plain`` can
    write."""

    kind: ClassVar[str]
    """The kind's name in files and in the registry, e.g. ``"lora"``."""

    @property
    def dropout(self) -> float:
        """The dropout rate of the adapter's inputs in training; 0 if the kind has no dropout."""
        ...

    @property
    def active(self) -> Literal["all", "answer"]:
        """The tokens on which adapters act: all, or only from the invocation tokens (the start
        of the answer's turn) on."""
        ...

    @property
    def top_layers(self) -> int:
        """The number of last layers that are adapted; 0 for all."""
        ...

    @property
    def description(self) -> str:
        """The settings in words, for messages."""
        ...

    def is_same_kind(self, other: AdapterConfig, /) -> bool:
        """Whether tensors mean the same under both configs."""
        ...

    @property
    def is_resolved(self) -> bool:
        """Whether the settings mean the same on every model, as all stored settings do."""
        ...

    def resolve_for(self, model: Any) -> Self:
        """Return the settings with what they leave to the model filled in; the same for equal
        settings on one model. Raises the same errors as ``check_model``."""
        ...

    def check_model(self, model: Any) -> None:
        """Raise UsageError if the model cannot have such adapters."""
        ...

    def list_target_paths(self, model: Any) -> tuple[str, ...]:
        """The paths of the modules that such adapters change; raises the same errors as
        ``check_model``."""
        ...

    def count_parameters(self, model: Any) -> int:
        """The number of parameters of one adapter on this model; raises the same errors as
        ``check_model``."""
        ...


class Adapter(Protocol):
    """One person's adapter as an immutable value: settings, identity of the base, and tensors."""

    @property
    def config(self) -> AdapterConfig: ...

    @property
    def base(self) -> str:
        """The identity of the base it was made for."""
        ...

    @property
    def num_bytes(self) -> int:
        """The size of its tensors in bytes."""
        ...

    def check_matches_base(self, base: Base, config: AdapterConfig | None = None) -> Self:
        """Return the adapter itself if it fits the base (and the config, if given).

        Raises MismatchError for another base, kind or shape, IntegrityError if a number is not
        finite, or if the adapter would replace the base instead of adapting it.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name, as the store writes them. Names and shapes are the same for
        all adapters of equal settings on one base. ``KindSpec.from_tensors`` is the inverse."""
        ...

    def content_hash(self) -> str:
        """A SHA-256 over names and numbers (hex): equal only for equal adapters."""
        ...

    def stored_forms(self) -> Iterator[Tensor]:
        """Yield every tensor in each form in which a file of this project may store it, exports
        included. The search for copies compares these."""
        ...

    def personal_forms(self) -> Iterator[Tensor]:
        """Yield those of ``stored_forms`` that belong to this person only, without what all people
        share."""
        ...
