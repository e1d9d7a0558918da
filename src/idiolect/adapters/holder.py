"""Stores of adapters and exported adapters as holders of personal data.

A store names who is in it. An exported adapter names nobody: it is known by the numbers in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.peft_format import CONFIG, WEIGHTS
from idiolect.adapters.store import PARTS, AdapterStore, Record
from idiolect.storage import Effect, Leaving, Manifest, Words, delete_files, sha256_file

PROGRESS = ("checkpoint.bin", "share.bin")
"""Work in progress in a store, of whoever."""


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of adapters, and no part of one."""
    return (folder / AdapterStore.HEAD).is_file() and folder.parent.name != PARTS


class Stores:
    """Stores: who leaves goes with their row. Somebody else's adapter that holds their numbers (an
    imported copy) is taken away; everybody else's stays byte by byte."""

    def find(self, folder: Path, leaving: Leaving) -> str:
        """What is in it of who leaves; of one whose records go, what holds their former numbers."""
        if not is_store(folder):
            return ""
        store = AdapterStore.open(folder)
        found = [f"the adapter of {p}" for p in _copies(store, leaving)]
        if leaving.whole and leaving.is_theirs(store.task) and store.mentions(leaving.person):
            found.insert(0, "their adapter")
        found += [f"work in progress ({n})" for n in PROGRESS if (folder / n).exists()]
        return ", ".join(found)

    def erase(self, folder: Path, leaving: Leaving) -> Sequence[Effect]:
        """Take out their row, copies of it, and work in progress."""
        if not self.find(folder, leaving):
            return []
        store = AdapterStore.open(folder)
        out: list[Effect] = []
        with store.writing():
            copies = _copies(store, leaving)
            gone = [Record(person=p, served="withdrawn", made_by="") for p in copies]
            if gone:
                store.add([(record, None) for record in gone])
            theirs = leaving.whole and leaving.is_theirs(store.task)
            there = theirs and store.mentions(leaving.person)
            store.compact({leaving.person} if theirs else ())
            for name in PROGRESS:
                if (folder / name).exists():
                    (folder / name).unlink()
                    out.append(Effect(what="work in progress", where=folder, outcome="deleted"))
        if there:
            out.append(
                Effect(what="adapter", where=folder, outcome="removed", person=leaving.person)
            )
        why = f"a copy of the adapter of {leaving.person}"
        for person in copies:
            out.append(
                Effect(what="adapter", where=folder, outcome="taken away", person=person, why=why)
            )
        return out

    def scan(self, path: Path) -> Words | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None


def _copies(store: AdapterStore, leaving: Leaving) -> list[str]:
    """Others whose adapter holds the numbers of who leaves."""
    mine = leaving.is_theirs(store.task)
    holding = store.holding(leaving.needles)
    return [p for p in holding if not (p == leaving.person and mine)]


class Exports:
    """Exported adapters: deleted where they hold the numbers of who leaves, or are a mean of them
    and others."""

    def find(self, folder: Path, leaving: Leaving) -> str:
        """Whether it is made of an adapter of theirs."""
        if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
            return ""
        if sha256_file(folder / WEIGHTS) in leaving.files:
            return "a mean of adapters, theirs among them"
        named = (folder / Manifest.NAME).is_file() and (
            leaving.person in Manifest.peek(folder).contributors
        )
        if named or leaving.needles.has_tensors((folder / WEIGHTS).read_bytes()):
            return "an adapter made of theirs"
        return ""

    def erase(self, folder: Path, leaving: Leaving) -> Sequence[Effect]:
        """Delete it, its config last."""
        what = self.find(folder, leaving)
        if not what:
            return []
        ours = (folder / Manifest.NAME).is_file()
        names = {*(Manifest.peek(folder).files if ours else ())} - {CONFIG, WEIGHTS}
        delete_files(folder, [*sorted(names), Manifest.NAME, WEIGHTS, CONFIG])
        return [Effect(what="exported adapter", where=folder, outcome="deleted", why=what)]

    def scan(self, path: Path) -> Words | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None
