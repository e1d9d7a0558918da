"""Base class of folders that are bound to one base, task and kind of adapter by a header file.

The adapter store, the pool of pieces and the store of recipes are such folders. This module
handles only the header.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from idiolect.adapters.kinds import config_from_header, config_to_header
from idiolect.adapters.protocol import AdapterConfig
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.storage.files import is_working_file, read_json


class BaseBoundArtifact:
    """A folder with a header whose entries become attributes; subclasses define the contents."""

    HEADER_FILE: ClassVar[str]
    """The name of the header file."""
    DISPLAY_NAME: ClassVar[str]
    """The name of the kind of folder, for messages."""
    COMMAND: ClassVar[str]
    """The command that creates such a folder, for messages."""
    FORMAT_VERSION: ClassVar[int] = 1

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            self.base = str(head["base"])
            self.base_name = str(head["base_name"])
            self.base_source = str(head["base_source"])
            """The argument of ``load_base``: ``default``, a folder, or ``hub:`` and a hub id."""
            self.tokenizer = str(head["tokenizer"])
            self.task = str(head["task"])
            self.adapter_config = config_from_header(head, where=str(folder / self.HEADER_FILE))
            self.settings: Mapping[str, Any] = head["settings"]
            """The resolved configuration that created the folder, as plain data."""
        except (KeyError, TypeError) as error:
            raise self.make_header_error(error) from error

    @property
    def made_by_command(self) -> str:
        """The command that creates such a folder."""
        return self.COMMAND

    def get_relative_path(self, folder: Path) -> str:
        """Return the path to this folder relative to ``folder``. A derived artifact stores it, so
        the reference stays valid if both folders move together."""
        try:
            return os.path.relpath(self.folder, folder)
        except ValueError:  # Windows: no relative path between two drives
            return str(self.folder.absolute())

    def make_header_error(self, why: object) -> IntegrityError:
        """Return the error for a header with missing or invalid entries."""
        return IntegrityError(
            f"{self.folder / self.HEADER_FILE}: not a valid {self.DISPLAY_NAME} header ({why})"
        )

    @classmethod
    def read_header(cls, folder: Path) -> dict[str, Any]:
        """Read the header of a folder; raises MissingError, MismatchError or IntegrityError."""
        if not (folder / cls.HEADER_FILE).is_file():
            raise MissingError(
                f"{folder}: no {cls.DISPLAY_NAME} there; make one: idiolect {cls.COMMAND}"
            )
        # The version comes first: other versions may have other entries.
        head = read_json(folder / cls.HEADER_FILE)
        if not isinstance(head, dict) or head.get("format") != cls.FORMAT_VERSION:
            raise MismatchError(
                f"{folder}: no {cls.DISPLAY_NAME} of format {cls.FORMAT_VERSION}; another "
                "version wrote it"
            )
        return head

    @classmethod
    def make_header(
        cls, base: Base, *, source: str, task: str, config: AdapterConfig, settings: object
    ) -> dict[str, Any]:
        """Return the header of a new folder as plain data."""
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
        """Raise UsageError if the folder holds files other than the ``known`` ones.

        ``empty``: a subfolder that may exist if it is empty.
        """
        # Never mix a new store with files of something else.
        within = (_list_files(folder / name) for name in (empty,) if empty)
        if any(p.name not in (*known, empty) for p in _list_files(folder)) or any(within):
            raise UsageError(
                f"{folder}: holds other files, but no {cls.DISPLAY_NAME}; name another folder"
            )

    def check_compatible(
        self, *, base: str, task: str | None = None, config: AdapterConfig | None = None
    ) -> None:
        """Raise MismatchError if the folder was made for another base, task or kind of adapter."""
        # An adapter of another base would run without an error and give wrong output.
        if self.base != base:
            raise MismatchError(
                f"{self.folder}: made for base {self.base_name} ({self.base[:12]}), but this base "
                f"is {base[:12]}; use --base {self.base_source} or another {self.DISPLAY_NAME}"
            )
        if task is not None and self.task != task:
            raise MismatchError(
                f"{self.folder}: made for task {self.task!r}, but the data is for task {task!r}"
            )
        if config is not None and not self.adapter_config.is_same_kind(config):
            raise MismatchError(
                f"{self.folder}: holds adapters with {self.adapter_config.description}, but "
                f"the settings are {config.description}; use another {self.DISPLAY_NAME}"
            )


def _list_files(folder: Path) -> list[Path]:
    """List the files of a folder without locks and partial files; empty if there is no folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if not is_working_file(path.name)]
