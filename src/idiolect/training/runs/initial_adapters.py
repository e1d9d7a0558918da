"""Where people's training starts, when not from fresh adapters; knows no files.

What is made of pieces of a pool is made above this floor, and passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from idiolect.adapters.protocol import Adapter


class InitialAdapters(Protocol):
    """Everyone's start."""

    def require_all(self, people: Sequence[str]) -> None:
        """Raise where somebody has none that may be used; before anything is trained."""
        ...

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Raise where an adapter of theirs, made of pieces of these sharers, may not be used."""
        ...

    def compute_fingerprint(self, person: str) -> str:
        """A fingerprint of what their start is made of; empty where the settings say it."""
        ...

    def list_sharers(self, person: str) -> tuple[str, ...]:
        """Whose pieces it is made of, under their pseudonyms."""
        ...

    def get_adapter(self, person: str) -> Adapter: ...


@dataclass(frozen=True, slots=True)
class SharedInitialAdapter:
    """One adapter for everyone, which the settings name by its sha256."""

    initial_adapter: Adapter
    source_sharers: tuple[str, ...] = ()

    def require_all(self, people: Sequence[str]) -> None:
        """Everyone has it."""

    def require_sharers(self, person: str, sharers: Sequence[str]) -> None:
        """Nothing is known of a pool."""

    def compute_fingerprint(self, person: str) -> str:
        """What the settings say."""
        return ""

    def list_sharers(self, person: str) -> tuple[str, ...]:
        """As its manifest says."""
        return self.source_sharers

    def get_adapter(self, person: str) -> Adapter:
        """The one."""
        return self.initial_adapter
