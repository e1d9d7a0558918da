"""What the earlier steps of a run did, or in a dry run would have done.

Each step first plans what it does, and plans on this state. A dry run stops there, so that it lists
what the real run does. In a real run the files themselves tell what earlier steps did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from idiolect.adapters.formats.peft import CONFIG_FILE, WEIGHTS_FILE
from idiolect.privacy.erasure import ErasureEffect
from idiolect.storage.files import is_working_file
from idiolect.storage.manifest import Manifest


@dataclass(kw_only=True)
class RunState:
    """The changes of a dry run up to now; of a real run it remembers nothing."""

    is_dry_run: bool = False
    withdrawn_sharers: set[str] = field(default_factory=set[str])
    """Pseudonyms whose pieces are out of their pool."""
    _deleted_folders: set[Path] = field(default_factory=set[Path])
    _deleted_files: set[Path] = field(default_factory=set[Path])
    _replaced: set[tuple[Path, str]] = field(default_factory=set[tuple[Path, str]])
    _dropped_from: set[Path] = field(default_factory=set[Path])
    _discarded: set[tuple[Path, str]] = field(default_factory=set[tuple[Path, str]])

    def note_effects(self, effects: Iterable[ErasureEffect]) -> None:
        """Remember what a step would have done."""
        for effect in effects if self.is_dry_run else ():
            place = effect.where.resolve()
            if effect.outcome == "deleted" and place.is_dir():
                self._deleted_folders.add(place)
                self._deleted_files |= _list_artifact_files(place)
            if effect.person and effect.outcome in ("rebuilt", "discarded"):
                self._replaced.add((place, effect.person))
            if effect.person and effect.outcome == "discarded":
                self._discarded.add((place, effect.person))

    def note_dropped(self, stores: Iterable[Path]) -> None:
        """Remember the stores whose ledger gets an event because the person's adapter goes."""
        self._dropped_from |= {folder.resolve() for folder in stores if self.is_dry_run}

    def is_dropped_from(self, store: Path) -> bool:
        """Whether the ledger of a store gets an event of the person."""
        return store.resolve() in self._dropped_from

    def is_gone(self, folder: Path) -> bool:
        """Whether a folder was deleted, or the artifact in it."""
        if not folder.is_dir():
            return True
        place = folder.resolve()
        if place in self._deleted_folders:
            return True
        if not any(place.is_relative_to(deleted) for deleted in self._deleted_folders):
            return False
        # A folder inside a deleted artifact is deleted too, unless it holds other files.
        files = (path for path in place.rglob("*") if path.is_file())
        return all(path in self._deleted_files or is_working_file(path.name) for path in files)

    def is_replaced(self, folder: Path, person: str) -> bool:
        """Whether a person's adapter or recipe in a store was rebuilt or discarded."""
        return (folder.resolve(), person) in self._replaced

    def is_discarded(self, folder: Path, person: str) -> bool:
        """Whether a person's adapter or recipe in a store was discarded."""
        return (folder.resolve(), person) in self._discarded


def _list_artifact_files(folder: Path) -> set[Path]:
    """Return the files that go with an artifact: those of its manifest, and those of an export."""
    is_ours = (folder / Manifest.NAME).is_file()
    names = {*(Manifest.read_unchecked(folder).files if is_ours else ())}
    return {folder / name for name in {*names, Manifest.NAME, WEIGHTS_FILE, CONFIG_FILE}}
