"""Erasure of a person from adapter stores, work in progress, and exported adapters.

A store names the people in it. An exported adapter names no person, so its tensors are compared
with those of the person's adapter. Each class implements the protocol of ``privacy.erasure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.formats.peft import CONFIG_FILE, WEIGHTS_FILE
from idiolect.adapters.store.store import PARTS_FOLDER, AdapterRecord, AdapterStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest, delete_files
from idiolect.privacy.search.file_search import LabeledTexts
from idiolect.storage.files import sha256_file
from idiolect.storage.manifest import Manifest

IN_PROGRESS_FILES = ("checkpoint.bin", "share.bin")
"""Files of unfinished work in a store."""


def is_store(folder: Path) -> bool:
    """Whether a folder is an adapter store of its own, not a part of a sharded run."""
    return (folder / AdapterStore.HEADER_FILE).is_file() and folder.parent.name != PARTS_FOLDER


class CopiedAdapterErasure:
    """Imported copies of a person's adapter, stored under other people's names: marks them
    withdrawn.

    It finds copies by the tensors of the person's own adapter, so call ``find`` before that adapter
    is erased.
    """

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Describe whose adapters are copies; empty if there are none."""
        people = _find_copies(folder, leaving)
        return f"copies of their adapter ({', '.join(people)})" if people else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        why = f"a copy of the adapter of {leaving.person}"
        return [
            ErasureEffect(what="adapter", where=folder, outcome="discarded", person=p, why=why)
            for p in _find_copies(folder, leaving)
        ]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Withdraw the copies; using one raises an error from then on."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        store = AdapterStore.open(folder)
        with store.lock_for_writing():
            # A record without an adapter replaces the copy; compaction then removes its numbers.
            people = [effect.person for effect in effects]
            withdrawn = [AdapterRecord(person=p, served="withdrawn", made_by="") for p in people]
            store.add([(record, None) for record in withdrawn])
            store.compact()
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return None: the generic scan reads safetensors and JSON files."""
        return None


def _find_copies(folder: Path, leaving: ErasureRequest) -> list[str]:
    if not (folder / AdapterStore.HEADER_FILE).is_file():
        return []
    store = AdapterStore.open(folder)
    # Adapters of these people that were made of what is forgotten are retrained or removed later.
    handled = {leaving.person, *leaving.affected_people}
    mine = leaving.is_same_person(store.task)
    return [p for p in store.people_matching(leaving.patterns) if not (p in handled and mine)]


class StoreErasure:
    """The person's own adapter in a store: removes the row; all other rows keep their bytes."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Describe the person's adapter; empty if the store has none."""
        if not leaving.is_whole_person or not is_store(folder):
            return ""
        store = AdapterStore.open(folder)
        there = leaving.is_same_person(store.task) and store.mentions_person(leaving.person)
        return "their adapter" if there else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        if not self.find(folder, leaving):
            return []
        return [
            ErasureEffect(what="adapter", where=folder, outcome="removed", person=leaving.person)
        ]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Remove the person's row from the store."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        store = AdapterStore.open(folder)
        with store.lock_for_writing():
            store.compact({leaving.person})
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return None: the generic scan reads safetensors and JSON files."""
        return None


class CheckpointErasure:
    """Unfinished work in a store: deletes all of it, because it may contain the person's data."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Name the files of unfinished work; empty if there are none."""
        if not (folder / AdapterStore.HEADER_FILE).is_file():
            return ""
        if not leaving.covers_task(AdapterStore.open(folder).task):
            return ""
        return ", ".join(name for name in IN_PROGRESS_FILES if (folder / name).exists())

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        if not self.find(folder, leaving):
            return []
        paths = [folder / name for name in IN_PROGRESS_FILES if (folder / name).exists()]
        return [ErasureEffect(what="work in progress", where=p, outcome="deleted") for p in paths]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete the files; the work has to start again."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        store = AdapterStore.open(folder)
        with store.lock_for_writing():
            for effect in effects:
                effect.where.unlink(missing_ok=True)
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return None: the files hold numbers only."""
        return None


class ExportErasure:
    """Exported adapters: deletes those that hold the person's tensors or are a mean that includes
    them."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Describe how the export depends on the person's adapter; empty if it does not."""
        if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
            return ""
        # The ledger records the hash of every exported mean.
        if sha256_file(folder / WEIGHTS_FILE) in leaving.files:
            return "a mean of adapters made of what is forgotten"
        # Some manifests name contributors, for example that of a task adapter.
        manifest = Manifest.read_unchecked(folder) if (folder / Manifest.NAME).is_file() else None
        named = (
            manifest is not None
            and leaving.person in manifest.contributors
            and leaving.covers_task(str(manifest.task or leaving.task))
        )
        if named or leaving.patterns.contains_tensors((folder / WEIGHTS_FILE).read_bytes()):
            return "an adapter made of what is forgotten"
        return ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        what = self.find(folder, leaving)
        if not what:
            return []
        return [ErasureEffect(what="exported adapter", where=folder, outcome="deleted", why=what)]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete the export. Its config goes last, so an interrupted erasure can find the folder
        again."""
        # An export by PEFT itself has no manifest; then only its two known files are deleted.
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        ours = (folder / Manifest.NAME).is_file()
        names = {*(Manifest.read_unchecked(folder).files if ours else ())} - {
            CONFIG_FILE,
            WEIGHTS_FILE,
        }
        delete_files(folder, [*sorted(names), Manifest.NAME, WEIGHTS_FILE, CONFIG_FILE])
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return None: the generic scan reads safetensors and JSON files."""
        return None
