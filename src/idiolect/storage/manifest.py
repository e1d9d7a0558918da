"""What an artifact folder was made of, and whether it still is what was written.

Knows names, hashes and plain data; knows nothing of what the files mean. A manifest holds no time
and no place: the same making gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, cast

from idiolect.config import from_plain, to_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.storage.files import is_working_file, read_json, sha256_file, write_json


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an artifact is, what it was made of, and the hash of each of its files."""

    NAME: ClassVar[str] = "manifest.json"

    kind: str
    """What the folder is: ``dataset``, ``base``, ``adapters``, ``profiles``..."""
    format_version: int = 1
    base: str | None = None
    """The hash of the base model's weights that it was made for."""
    tokenizer: str | None = None
    """The hash of the tokenizer that it was made for."""
    task: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The resolved settings it was made with, plain data."""
    contributors: tuple[str, ...] = ()
    """The people whose data went into it."""
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 by name, the name relative to the folder and with forward slashes."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """The versions of what made it, e.g. ``{"idiolect": "0.1.0", "torch": "2.13.0"}``."""

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
        """The manifest of the files that stand in ``folder`` now, each one hashed."""
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
        """Write the manifest into its folder, atomically."""
        write_json(folder / self.NAME, to_plain(self))

    @staticmethod
    def load(folder: Path, kind: str, *, format_version: int = 1) -> Manifest:
        """Read a folder's manifest and check every file against it.

        Raises MissingError where there is no such artifact, MismatchError for another kind or
        format, IntegrityError for a changed, missing or foreign file.
        """
        manifest = Manifest.read_unchecked(folder)
        if manifest.kind != kind:
            raise MismatchError(
                f"{folder}: holds {manifest.kind!r}, not {kind!r}; give a folder of that kind"
            )
        if manifest.format_version != format_version:
            what = "newer" if manifest.format_version > format_version else "older"
            raise MismatchError(
                f"{folder}: {kind} format {manifest.format_version}, of a {what} Idiolect; "
                f"this one reads format {format_version}"
            )
        manifest.verify(folder)
        return manifest

    @staticmethod
    def read_unchecked(folder: Path) -> Manifest:
        """Read a folder's manifest alone, without a look at the other files."""
        path = folder / Manifest.NAME
        if not path.is_file():
            raise MissingError(f"{folder}: not an artifact of Idiolect (it has no {Manifest.NAME})")
        content: Any = read_json(path)
        try:
            if not isinstance(content, Mapping):
                raise UsageError(f"{path}: expected an object")
            manifest = from_plain(Manifest, cast("Mapping[str, Any]", content), where=str(path))
            names = [*manifest.files, *manifest.files.values(), *manifest.contributors]
            if any(not isinstance(name, str) for name in cast("list[object]", names)):
                raise UsageError(f"{path}: file names, hashes and contributors must be text")
        except (UsageError, AttributeError, TypeError) as error:
            raise IntegrityError(f"not a manifest: {error}") from error
        for name in manifest.files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise IntegrityError(f"{path}: lists {name!r}, which is outside its folder")
        return manifest

    @staticmethod
    def read_kind(folder: Path) -> str:
        """What a folder's manifest says it is; empty where there is none, or somebody else's."""
        path = folder / Manifest.NAME
        try:
            content: Any = json.loads(path.read_bytes()) if path.is_file() else {}
            return str(content["content"]["kind"])
        except (ValueError, KeyError, TypeError):
            return ""

    def verify(self, folder: Path) -> None:
        """Check every file; raises IntegrityError for a changed, missing or foreign one."""
        present = _list_artifact_files(folder)
        for name in present:
            if name not in self.files:
                raise IntegrityError(
                    f"{folder}: holds {name!r}, which its manifest does not list; move it elsewhere"
                )
        for name, expected in self.files.items():
            if name not in present:
                raise IntegrityError(f"{folder}: {name!r} is missing; restore it or make it anew")
            if sha256_file(folder / name) != expected:
                raise IntegrityError(
                    f"{folder / name}: was changed after it was written; restore it from a copy or "
                    "make it anew"
                )

    def require_match(self, folder: Path, **expected: str | None) -> None:
        """Raise MismatchError where ``base``, ``tokenizer`` or ``task`` is not the expected one."""
        for name, value in expected.items():
            made_for = getattr(self, name)
            if value is not None and made_for != value:
                raise MismatchError(
                    f"{folder}: made for {name} {made_for or 'unknown'}, not for {value}; "
                    f"use it with the {name} it was made for, or make it anew"
                )


def _list_artifact_files(folder: Path) -> list[str]:
    """Names of all files below ``folder`` but the manifest and the storage's own working files."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir()
        and path != folder / Manifest.NAME
        and not any(is_working_file(part) for part in path.relative_to(folder).parts)
    )
