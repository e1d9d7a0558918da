"""A folder that grows, and the head that says which base, task and kind of adapter it is for.

The store of adapters, the pool of pieces and the store of recipes are such folders. Knows nothing
of what they hold beside their head.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from idiolect.adapters.kinds import config_from_header, config_to_header
from idiolect.adapters.protocol import AdapterConfig
from idiolect.config import to_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.storage.files import is_working_file, read_json


class BaseBoundArtifact:
    """What a head says, as attributes; subclasses say what the folder is."""

    HEADER_FILE: ClassVar[str]
    """The head's file."""
    DISPLAY_NAME: ClassVar[str]
    """What the folder is, for messages."""
    COMMAND: ClassVar[str]
    """The verb that makes one, for messages."""
    FORMAT_VERSION: ClassVar[int] = 1

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            self.base = str(head["base"])
            self.base_name = str(head["base_name"])
            self.base_source = str(head["base_source"])
            """What ``load_base`` was called with: ``default``, a folder or a hub id."""
            self.tokenizer = str(head["tokenizer"])
            self.task = str(head["task"])
            self.adapter_config = config_from_header(head, where=str(folder / self.HEADER_FILE))
            self.settings: Mapping[str, Any] = head["settings"]
            """The resolved configuration it was made with, plain data."""
        except (KeyError, TypeError) as error:
            raise self.make_header_error(error) from error

    @property
    def made_by_command(self) -> str:
        """The verb that makes one."""
        return self.COMMAND

    def get_relative_path(self, folder: Path) -> str:
        """The way here from another folder, for what is made from it to name: it holds where both
        are moved together."""
        try:
            return os.path.relpath(self.folder, folder)
        except ValueError:  # there is none between two drives
            return str(self.folder.absolute())

    def make_header_error(self, why: object) -> IntegrityError:
        """The error for a head that does not say what it must."""
        return IntegrityError(
            f"{self.folder / self.HEADER_FILE}: not the head of a {self.DISPLAY_NAME} ({why})"
        )

    @classmethod
    def read_header(cls, folder: Path) -> dict[str, Any]:
        """The head in a folder; raises MissingError, MismatchError or IntegrityError."""
        if not (folder / cls.HEADER_FILE).is_file():
            raise MissingError(
                f"{folder}: no {cls.DISPLAY_NAME} there; make one: idiolect {cls.COMMAND}"
            )
        head = read_json(folder / cls.HEADER_FILE)
        if not isinstance(head, dict) or head.get("format") != cls.FORMAT_VERSION:
            raise MismatchError(
                f"{folder}: not a {cls.DISPLAY_NAME} of format {cls.FORMAT_VERSION}; made by "
                "another version"
            )
        return head

    @classmethod
    def make_header(
        cls, base: Base, *, source: str, task: str, config: AdapterConfig, settings: object
    ) -> dict[str, Any]:
        """The head of a new one, plain data."""
        return {
            "format": cls.FORMAT_VERSION,
            "base": base.identity,
            "base_name": base.name,
            "base_source": source,
            "tokenizer": base.tokenizer_identity,
            "task": task,
            **config_to_header(config),
            "settings": settings,
        }

    @classmethod
    def check_folder_free(
        cls, folder: Path, *, known: Collection[str] = (), empty: str = ""
    ) -> None:
        """Raise UsageError where one cannot be made: other files than the ``known`` are there.

        ``empty``: a folder within, which may be there without anything in it.
        """
        within = (_list_files(folder / name) for name in (empty,) if empty)
        if any(p.name not in (*known, empty) for p in _list_files(folder)) or any(within):
            raise UsageError(
                f"{folder}: holds other files and is no {cls.DISPLAY_NAME}; name another folder"
            )

    def check_compatible(
        self, *, base: str, task: str | None = None, config: AdapterConfig | None = None
    ) -> None:
        """Raise MismatchError where the folder was made for something else."""
        if self.base != base:
            raise MismatchError(
                f"{self.folder}: made for base {self.base_name} ({self.base[:12]}), this base is "
                f"{base[:12]}; use --base {self.base_source} or another {self.DISPLAY_NAME}"
            )
        if task is not None and self.task != task:
            raise MismatchError(f"{self.folder}: made for task {self.task!r}, the data is {task!r}")
        if config is not None and not self.adapter_config.is_same_kind(config):
            raise MismatchError(
                f"{self.folder}: holds adapters of {to_plain(self.adapter_config)}, asked for "
                f"{to_plain(config)}; use another {self.DISPLAY_NAME}"
            )


def _list_files(folder: Path) -> list[Path]:
    """What stands in a folder, but locks and what is half-written; nothing where there is none."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if not is_working_file(path.name)]
