"""The interface of sources of people's adapters: a store, or a store of recipes that makes them on
demand.

Serving and export take any ``AdapterSource``; ``AdapterStore`` is the simplest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from idiolect.adapters.protocol import Adapter
from idiolect.errors import MismatchError, MissingError
from idiolect.models.base import Base
from idiolect.storage.manifest import Manifest

WITHDRAWN = "withdrawn"
"""The ``served`` value of people whose adapter was removed with the pieces it was made of."""


class ServingRecord(Protocol):
    """A person's record in a source."""

    @property
    def served(self) -> str:
        """``adapter``, or why the person has none."""
        ...


class AdapterSource(Protocol):
    """Adapters of many people, and the base, task and settings that all of them were made for."""

    @property
    def folder(self) -> Path: ...

    @property
    def made_by_command(self) -> str:
        """The command that creates the source, for messages."""
        ...

    @property
    def base(self) -> str: ...

    @property
    def base_name(self) -> str: ...

    @property
    def base_source(self) -> str: ...

    @property
    def task(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the people's items were rendered: some settings of ``personalize``, as plain data."""
        ...

    @property
    def people(self) -> tuple[str, ...]:
        """All people in the source, sorted."""
        ...

    def get_record(self, person: str) -> ServingRecord | None: ...

    def get_adapter(self, person: str) -> Adapter | None:
        """Return a person's adapter; None if the base serves them or they are unknown.

        Raises MismatchError if the adapter is made of pieces that must not be used any more.
        """
        ...

    def provenance(self, person: str) -> Mapping[str, Any]:
        """The pool and sharers a person's adapter is made of, for its manifest; empty if there are
        none."""
        ...

    def get_quantization(self, person: str) -> str:
        """How the base was quantized on which a person's adapter was made."""
        ...

    def check_compatible(self, *, base: str) -> None:
        """Raise MismatchError if the adapters are for another base."""
        ...


def get_usable_adapter(source: AdapterSource, person: str) -> Adapter | None:
    """Return a person's adapter, None if the base serves them; raises MismatchError if it was
    removed with withdrawn pieces."""
    # A withdrawn adapter must not fall back to the base silently.
    record = source.get_record(person)
    if record is not None and record.served == WITHDRAWN:
        raise MismatchError(
            f"{source.folder}: the adapter of {person!r} was made of pieces that a sharer has "
            f"withdrawn, so it was removed; make it again: idiolect {source.made_by_command}"
        )
    return source.get_adapter(person)


def describe_other_quantization(made_on: str, base: Base) -> str:
    """Return a sentence that an adapter runs on a base that is quantized otherwise than the one it
    was made on; empty if it is the same."""
    if made_on == base.quantization:
        return ""
    here, there = (
        "an unquantized base" if name == "none" else f"a base in {name}"
        for name in (base.quantization, made_on)
    )
    return f"the adapter was made on {there} and runs on {here}: answers may differ"


def read_quantization(folder: Path) -> str:
    """Return how the base was quantized on which an exported adapter was made."""
    try:
        return str(Manifest.read_unchecked(folder).config.get("quantization", "none"))
    except MissingError:
        return "none"


def read_sharers(folder: Path) -> tuple[str, ...]:
    """Return the pseudonyms of the sharers an exported adapter is made of; empty if its manifest
    names none."""
    try:
        named = Manifest.read_unchecked(folder).config.get("sharers", ())
    except MissingError:
        return ()
    return tuple(map(str, named))
