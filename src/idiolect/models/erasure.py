"""Erasure of people from adapted bases, whose weights were trained on their items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.errors import MissingError
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest, delete_files
from idiolect.privacy.search.file_search import LabeledTexts
from idiolect.storage.manifest import Manifest

MANIFEST_KIND = "base"
_REMOVED_KEY = "gone"


class BaseModelErasure:
    """Adapted bases: deletes the weights and leaves a manifest that makes using the base an
    error."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Describe the base if its manifest names the person; empty otherwise."""
        manifest = read_base_manifest(folder)
        if manifest is None or leaving.person not in manifest.contributors:
            return ""
        # A numeric id means different people in different tasks, and records are of one task.
        is_covered = leaving.covers_task(str(manifest.config.get("task", "")))
        return "a base adapted on their items" if is_covered else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        if not self.find(folder, leaving):
            return []
        why = f"adapted on items of {leaving.person}; make it again: idiolect adapt"
        return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete the weights. The manifest is replaced last, so an interrupted erasure can be
        repeated."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        manifest = Manifest.read_unchecked(folder)
        delete_files(folder, sorted(manifest.files))
        # The new manifest keeps the name but no contributor.
        config = {"name": manifest.config.get("name", folder.name), _REMOVED_KEY: True}
        Manifest(kind=MANIFEST_KIND, config=config).save(folder)
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return None: the generic scan reads safetensors and JSON files."""
        return None


def read_base_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a base that this project wrote; None for other folders."""
    return Manifest.read_unchecked(folder) if Manifest.read_kind(folder) == MANIFEST_KIND else None


def reject_removed_base(folder: Path) -> None:
    """Raise MissingError if the base was removed because a person in it was erased."""
    manifest = read_base_manifest(folder)
    if manifest is not None and manifest.config.get(_REMOVED_KEY):
        raise MissingError(
            f"{folder}: this base was adapted on items of a person who has been erased, so it was "
            "removed; make it again: idiolect adapt, or name another base"
        )
