"""A folder that grows, and the head that says which base, task and kind of adapter it is for.

The store of adapters, the pool of pieces and the store of recipes are such folders. Knows nothing
of what they hold beside their head.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from idiolect.adapters.kinds import config_from_head, config_to_head
from idiolect.adapters.protocol import AdapterConfig
from idiolect.config import to_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.storage.files import is_working_file, read_json


class BoundFolder:
    """What a head says, as attributes; subclasses say what the folder is."""

    HEAD: ClassVar[str]
    """The head's file."""
    WHAT: ClassVar[str]
    """What the folder is, for messages."""
    MAKE: ClassVar[str]
    """The verb that makes one, for messages."""
    FORMAT: ClassVar[int] = 1

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            self.base = str(head["base"])
            self.base_name = str(head["base_name"])
            self.base_source = str(head["base_source"])
            """What ``load_base`` was called with: ``default``, a folder or a hub id."""
            self.tokenizer = str(head["tokenizer"])
            self.task = str(head["task"])
            self.adapter_config = config_from_head(head, where=str(folder / self.HEAD))
            self.settings: Mapping[str, Any] = head["settings"]
            """The resolved configuration it was made with, plain data."""
        except (KeyError, TypeError) as error:
            raise self.no_head(error) from error

    @property
    def making(self) -> str:
        """The verb that makes one."""
        return self.MAKE

    def seen_from(self, folder: Path) -> str:
        """The way here from another folder, for what is made from it to name: it holds where both
        are moved together."""
        try:
            return os.path.relpath(self.folder, folder)
        except ValueError:  # there is none between two drives
            return str(self.folder.absolute())

    def no_head(self, why: object) -> IntegrityError:
        """The error for a head that does not say what it must."""
        return IntegrityError(f"{self.folder / self.HEAD}: not the head of a {self.WHAT} ({why})")

    @classmethod
    def read_head(cls, folder: Path) -> dict[str, Any]:
        """The head in a folder; raises MissingError, MismatchError or IntegrityError."""
        if not (folder / cls.HEAD).is_file():
            raise MissingError(f"{folder}: no {cls.WHAT} there; make one: idiolect {cls.MAKE}")
        head = read_json(folder / cls.HEAD)
        if not isinstance(head, dict) or head.get("format") != cls.FORMAT:
            raise MismatchError(
                f"{folder}: not a {cls.WHAT} of format {cls.FORMAT}; made by another version"
            )
        return head

    @classmethod
    def head_for(
        cls, base: Base, *, source: str, task: str, config: AdapterConfig, settings: object
    ) -> dict[str, Any]:
        """The head of a new one, plain data."""
        return {
            "format": cls.FORMAT,
            "base": base.identity,
            "base_name": base.name,
            "base_source": source,
            "tokenizer": base.tokenizer_identity,
            "task": task,
            **config_to_head(config),
            "settings": settings,
        }

    @classmethod
    def require_free(cls, folder: Path, *, known: Collection[str] = (), empty: str = "") -> None:
        """Raise UsageError where one cannot be made: other files than the ``known`` are there.

        ``empty``: a folder within, which may be there without anything in it.
        """
        within = (_within(folder / name) for name in (empty,) if empty)
        if any(p.name not in (*known, empty) for p in _within(folder)) or any(within):
            raise UsageError(
                f"{folder}: holds other files and is no {cls.WHAT}; name another folder"
            )

    def require(
        self, *, base: str, task: str | None = None, config: AdapterConfig | None = None
    ) -> None:
        """Raise MismatchError where the folder was made for something else."""
        if self.base != base:
            raise MismatchError(
                f"{self.folder}: made for base {self.base_name} ({self.base[:12]}), this base is "
                f"{base[:12]}; use --base {self.base_source} or another {self.WHAT}"
            )
        if task is not None and self.task != task:
            raise MismatchError(f"{self.folder}: made for task {self.task!r}, the data is {task!r}")
        if config is not None and not self.adapter_config.same_kind(config):
            raise MismatchError(
                f"{self.folder}: holds adapters of {to_plain(self.adapter_config)}, asked for "
                f"{to_plain(config)}; use another {self.WHAT}"
            )


def _within(folder: Path) -> list[Path]:
    """What stands in a folder, but locks and what is half-written; nothing where there is none."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if not is_working_file(path.name)]
