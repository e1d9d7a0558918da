"""Where each person's training starts, if not from a new adapter.

Adapters assembled from pieces of a pool are built in a higher layer and passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from idiolect.adapters.protocol import Adapter


class InitialAdapters(Protocol):
    """The initial adapter of each person."""

    def require_all(self, people: Sequence[str]) -> None:
        """Raise, before training, if a person has no usable initial adapter."""
        ...

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Raise if a person's adapter, made of pieces of these sharers, must not be used."""
        ...

    def compute_fingerprint(self, person: str) -> str:
        """Return a fingerprint of the initial adapter; empty if the settings identify it."""
        ...

    def list_sharers(self, person: str) -> tuple[str, ...]:
        """Return the pseudonyms of the people whose pieces it is made of."""
        ...

    def get_adapter(self, person: str) -> Adapter: ...


@dataclass(frozen=True, slots=True)
class SharedInitialAdapter:
    """One initial adapter for all people; the settings name it by its SHA-256."""

    initial_adapter: Adapter
    source_sharers: tuple[str, ...] = ()

    def require_all(self, people: Sequence[str]) -> None:
        """Do nothing: each person has it."""

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Do nothing: no pool is involved."""

    def compute_fingerprint(self, person: str) -> str:
        """Return an empty string: the settings identify it."""
        return ""

    def list_sharers(self, person: str) -> tuple[str, ...]:
        """Return the sharers that its manifest names."""
        return self.source_sharers

    def get_adapter(self, person: str) -> Adapter:
        """Return the shared adapter."""
        return self.initial_adapter
