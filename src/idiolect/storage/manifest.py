"""Artifact manifests: what a folder was made from, and whether its files are unchanged.

Handles names, hashes and plain data, whatever the files mean. A manifest contains no time and no
path, so the same inputs give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, cast

from idiolect.config import from_plain, to_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.storage.files import (
    MAX_JSON_BYTES,
    is_working_file,
    read_json,
    sha256_file,
    write_json,
)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an artifact is, what it was made from, and the hash of each of its files."""

    NAME: ClassVar[str] = "manifest.json"

    kind: str
    """The kind of artifact: ``dataset``, ``base``, ``adapters``, ``profiles``..."""
    format_version: int = 1
    base: str | None = None
    """Hash of the weights of the base model that the artifact belongs to."""
    tokenizer: str | None = None
    """Hash of the tokenizer that the artifact belongs to."""
    task: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The resolved settings the artifact was made with, as plain data."""
    contributors: tuple[str, ...] = ()
    """The people whose data was used."""
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 per file name; names are relative to the folder, with forward slashes."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """Versions of the software that made it, e.g. ``{"idiolect": "0.1.0", "torch": "2.13.0"}``."""

    @staticmethod
    def from_folder(
        folder: Path,
        *,
        kind: str,
        format_version: int = 1,
        base: str | None = None,
        tokenizer: str | None = None,
        task: str | None = None,
        config: Mapping[str, Any] | None = None,
        contributors: tuple[str, ...] = (),
        versions: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Hash every file in ``folder`` and return the manifest of its current content."""
        return Manifest(
            kind=kind,
            format_version=format_version,
            base=base,
            tokenizer=tokenizer,
            task=task,
            config=config or {},
            contributors=tuple(sorted(set(contributors))),
            files={name: sha256_file(folder / name) for name in _list_artifact_files(folder)},
            versions=versions or {},
        )

    def save(self, folder: Path) -> None:
        """Write the manifest into its folder atomically."""
        write_json(folder / self.NAME, to_plain(self))

    @staticmethod
    def load(folder: Path, kind: str, *, format_version: int = 1) -> Manifest:
        """Read a folder's manifest and check every file against it.

        Raises MissingError if the folder is not an artifact, MismatchError if it has another kind
        or format version, IntegrityError if a file was changed, is missing, or is not listed.
        """
        manifest = Manifest.read_unchecked(folder)
        if manifest.kind != kind:
            raise MismatchError(
                f"{folder}: contains {manifest.kind!r}, not {kind!r}; give a folder of that kind"
            )
        if manifest.format_version != format_version:
            what = "newer" if manifest.format_version > format_version else "older"
            raise MismatchError(
                f"{folder}: {kind} format {manifest.format_version}, written by a {what} Idiolect; "
                f"this one reads format {format_version}"
            )
        # Kind and version are compatible: now check the files themselves.
        manifest.verify(folder)
        return manifest

    @staticmethod
    def read_unchecked(folder: Path) -> Manifest:
        """Read a folder's manifest without checking the other files.

        Raises MissingError if there is no manifest, IntegrityError if it is damaged or not a
        manifest.
        """
        path = folder / Manifest.NAME
        if not path.is_file():
            raise MissingError(f"{folder}: not an Idiolect artifact (it has no {Manifest.NAME})")
        content: Any = read_json(path)
        try:
            # The envelope's checksum is valid; the content may still be something else.
            if not isinstance(content, Mapping):
                raise UsageError(f"{path}: expected a JSON object")
            manifest = from_plain(Manifest, cast("Mapping[str, Any]", content), where=str(path))
            # from_plain does not check the values inside mappings.
            names = [*manifest.files, *manifest.files.values(), *manifest.contributors]
            if any(not isinstance(name, str) for name in cast("list[object]", names)):
                raise UsageError(f"{path}: file names, hashes and contributors must be text")
        except (UsageError, AttributeError, TypeError) as error:
            raise IntegrityError(f"not a manifest: {error}") from error
        # A crafted manifest must not make us read or hash files elsewhere.
        for name in manifest.files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise IntegrityError(f"{path}: lists {name!r}, which is outside its folder")
        return manifest

    @staticmethod
    def read_kind(folder: Path) -> str:
        """Return the kind in a folder's manifest; empty if it has none or a foreign one."""
        path = folder / Manifest.NAME
        try:
            # Only the kind is needed, so neither the checksum nor the other keys are checked.
            is_small = path.is_file() and path.stat().st_size <= MAX_JSON_BYTES
            content: Any = json.loads(path.read_bytes()) if is_small else {}
            return str(content["content"]["kind"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""

    def verify(self, folder: Path) -> None:
        """Check every file; raises IntegrityError if one was changed, is missing, or is not
        listed."""
        present = _list_artifact_files(folder)
        # Foreign files first: they may be dangerous to load.
        for name in present:
            if name not in self.files:
                raise IntegrityError(
                    f"{folder}: contains {name!r}, which the manifest does not list; move it away"
                )
        for name, expected in self.files.items():
            if name not in present:
                raise IntegrityError(f"{folder}: {name!r} is missing; restore or recreate it")
            if sha256_file(folder / name) != expected:
                raise IntegrityError(
                    f"{folder / name}: was changed after it was written; restore it from a copy or "
                    "create it again"
                )

    def require_match(self, folder: Path, **expected: str | None) -> None:
        """Raise MismatchError if ``base``, ``tokenizer`` or ``task`` differs from the given value.

        A value of ``None`` is not checked.
        """
        for name, value in expected.items():
            made_for = getattr(self, name)
            if value is not None and made_for != value:
                raise MismatchError(
                    f"{folder}: made for {name} {made_for or 'unknown'}, not for {value}; "
                    f"use it with the {name} it was made for, or create it again"
                )


def _list_artifact_files(folder: Path) -> list[str]:
    """List all files below ``folder`` except the manifest and the storage layer's working files."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir()
        and path != folder / Manifest.NAME
        and not any(is_working_file(part) for part in path.relative_to(folder).parts)
    )
