"""Where people's adapters come from: a store of them, or what makes them when they are wanted.

Whoever serves or hands out an adapter takes one of these; the store is the plainest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from idiolect.adapters.protocol import Adapter
from idiolect.errors import MismatchError, MissingError
from idiolect.storage.manifest import Manifest

WITHDRAWN = "withdrawn"
"""How somebody is served whose adapter went with the pieces that it was made of: not at all."""


class ServingRecord(Protocol):
    """What is known of a person."""

    @property
    def served(self) -> str:
        """``adapter``, or why there is none."""
        ...


class AdapterSource(Protocol):
    """People's adapters, and what they were all made for."""

    @property
    def folder(self) -> Path: ...

    @property
    def made_by_command(self) -> str:
        """The verb that makes it, for messages."""
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
        """How their items were shown, plain data: some of the settings of ``personalize``."""
        ...

    @property
    def people(self) -> tuple[str, ...]:
        """Everyone who is known, sorted."""
        ...

    def get_record(self, person: str) -> ServingRecord | None: ...

    def get_adapter(self, person: str) -> Adapter | None:
        """A person's adapter; ``None`` where the base serves them or they are a stranger.

        Raises MismatchError where it is made of what must not be used any more.
        """
        ...

    def provenance(self, person: str) -> Mapping[str, Any]:
        """What a person's adapter is made of beside their own words, for its manifest."""
        ...

    def check_compatible(self, *, base: str) -> None:
        """Raise MismatchError where the adapters are for another base."""
        ...


def get_usable_adapter(source: AdapterSource, person: str) -> Adapter | None:
    """A person's adapter, ``None`` where the base serves them; raises MismatchError where it went
    with pieces that were withdrawn."""
    record = source.get_record(person)
    if record is not None and record.served == WITHDRAWN:
        raise MismatchError(
            f"{source.folder}: the adapter of {person!r} was made of pieces of somebody who has "
            f"withdrawn, and went with them; make it anew: idiolect {source.made_by_command}"
        )
    return source.get_adapter(person)


def read_sharers(folder: Path) -> tuple[str, ...]:
    """Whose pieces an exported adapter is made of, under their pseudonyms; none where nothing says
    so."""
    try:
        named = Manifest.read_unchecked(folder).config.get("sharers", ())
    except MissingError:
        return ()
    return tuple(map(str, named))
