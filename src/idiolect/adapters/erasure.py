"""Stores of adapters and exported adapters as holders of personal data.

A store names who is in it. An exported adapter names nobody: it is known by the numbers in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.formats.peft import CONFIG_FILE, WEIGHTS_FILE
from idiolect.adapters.store.store import PARTS_FOLDER, AdapterRecord, AdapterStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest, delete_files
from idiolect.privacy.scan import LabeledTexts
from idiolect.storage.files import sha256_file
from idiolect.storage.manifest import Manifest

IN_PROGRESS_FILES = ("checkpoint.bin", "share.bin")
"""Files of work in progress in a store."""


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of adapters, and no part of one."""
    return (folder / AdapterStore.HEADER_FILE).is_file() and folder.parent.name != PARTS_FOLDER


class CopiedAdapterErasure:
    """Adapters of others in a store that hold the numbers of who leaves (an imported copy): taken
    away. Ask before the adapter that they are known by is gone."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whose adapters are copies."""
        people = _find_copies(folder, leaving)
        return f"copies of their adapter ({', '.join(people)})" if people else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Take them away; using one is an error then."""
        people = _find_copies(folder, leaving)
        if not people:
            return []
        store = AdapterStore.open(folder)
        with store.lock_for_writing():
            gone = [AdapterRecord(person=p, served="withdrawn", made_by="") for p in people]
            store.add([(record, None) for record in gone])
            store.compact()
        why = f"a copy of the adapter of {leaving.person}"
        return [
            ErasureEffect(what="adapter", where=folder, outcome="discarded", person=p, why=why)
            for p in people
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None


def _find_copies(folder: Path, leaving: ErasureRequest) -> list[str]:
    if not (folder / AdapterStore.HEADER_FILE).is_file():
        return []
    store = AdapterStore.open(folder)
    mine = leaving.is_same_person(store.task)
    return [
        p for p in store.people_matching(leaving.patterns) if not (p == leaving.person and mine)
    ]


class StoreErasure:
    """Stores: who leaves goes with their row, everybody else's stays byte by byte."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether the person is in it."""
        if not leaving.is_whole_person or not is_store(folder):
            return ""
        store = AdapterStore.open(folder)
        there = leaving.is_same_person(store.task) and store.mentions_person(leaving.person)
        return "their adapter" if there else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Take out their row."""
        if not self.find(folder, leaving):
            return []
        store = AdapterStore.open(folder)
        with store.lock_for_writing():
            store.compact({leaving.person})
        return [
            ErasureEffect(what="adapter", where=folder, outcome="removed", person=leaving.person)
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None


class CheckpointErasure:
    """Work in progress in a store, of whoever: it goes, as it may be of who leaves."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether there is some."""
        if not (folder / AdapterStore.HEADER_FILE).is_file():
            return ""
        return ", ".join(name for name in IN_PROGRESS_FILES if (folder / name).exists())

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete it: that work starts anew."""
        if not self.find(folder, leaving):
            return []
        store = AdapterStore.open(folder)
        if not leaving.is_same_person(store.task):
            return []
        with store.lock_for_writing():
            paths = [folder / name for name in IN_PROGRESS_FILES if (folder / name).exists()]
            for path in paths:
                path.unlink(missing_ok=True)
        return [ErasureEffect(what="work in progress", where=p, outcome="deleted") for p in paths]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Nothing but numbers."""
        return None


class ExportErasure:
    """Exported adapters: deleted where they hold the numbers of who leaves, or are a mean of them
    and others."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether it is made of an adapter of theirs."""
        if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
            return ""
        if sha256_file(folder / WEIGHTS_FILE) in leaving.files:
            return "a mean of adapters, theirs among them"
        named = (folder / Manifest.NAME).is_file() and (
            leaving.person in Manifest.read_unchecked(folder).contributors
        )
        if named or leaving.patterns.contains_tensors((folder / WEIGHTS_FILE).read_bytes()):
            return "an adapter made of theirs"
        return ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete it, its config last."""
        what = self.find(folder, leaving)
        if not what:
            return []
        ours = (folder / Manifest.NAME).is_file()
        names = {*(Manifest.read_unchecked(folder).files if ours else ())} - {
            CONFIG_FILE,
            WEIGHTS_FILE,
        }
        delete_files(folder, [*sorted(names), Manifest.NAME, WEIGHTS_FILE, CONFIG_FILE])
        return [ErasureEffect(what="exported adapter", where=folder, outcome="deleted", why=what)]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None
