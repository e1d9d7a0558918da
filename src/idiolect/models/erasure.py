"""Adapted bases as holders of personal data: the words of those whose items they were adapted on
are in their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.errors import MissingError
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest, delete_files
from idiolect.privacy.scan import LabeledTexts
from idiolect.storage.manifest import Manifest

MANIFEST_KIND = "base"
_REMOVED_KEY = "gone"


class BaseModelErasure:
    """Folders of bases; in the place of one that goes stays a word that its use is an error."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether its manifest names who leaves."""
        manifest = read_base_manifest(folder)
        if manifest is None or leaving.person not in manifest.contributors:
            return ""
        theirs = leaving.is_same_person(str(manifest.config.get("task", "")))
        return "a base adapted on their items" if theirs else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete its weights; the manifest goes last, so that a kill is finished."""
        if not self.find(folder, leaving):
            return []
        manifest = Manifest.read_unchecked(folder)
        delete_files(folder, sorted(manifest.files))
        config = {"name": manifest.config.get("name", folder.name), _REMOVED_KEY: True}
        Manifest(kind=MANIFEST_KIND, config=config).save(folder)
        why = f"adapted on items of {leaving.person}; idiolect adapt makes it anew"
        return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None


def read_base_manifest(folder: Path) -> Manifest | None:
    """The manifest of a base that was made here; ``None`` for other folders."""
    return Manifest.read_unchecked(folder) if Manifest.read_kind(folder) == MANIFEST_KIND else None


def reject_removed_base(folder: Path) -> None:
    """Raise MissingError where a base went because somebody in it left."""
    manifest = read_base_manifest(folder)
    if manifest is not None and manifest.config.get(_REMOVED_KEY):
        raise MissingError(
            f"{folder}: this base was adapted on items of somebody who has left, and went with "
            "them; make it anew: idiolect adapt, or name another base"
        )
