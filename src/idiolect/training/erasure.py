"""What training leaves while it goes on, as holders of personal data: parts of sharded runs, and
checkpoints of a base being adapted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.store.store import PARTS, AdapterStore
from idiolect.privacy.erasure import Effect, Leaving
from idiolect.privacy.scan import Words
from idiolect.storage.files import read_json, write_json
from idiolect.training.sharded.parts import PART

ADAPTING = ".adapting"


class Parts:
    """Parts that wait to be merged: who leaves goes, and who is to be trained anew is trained when
    that shard is run again."""

    def find(self, folder: Path, leaving: Leaving) -> str:
        """How many people in it go."""
        people = _concerned(folder, leaving)
        return f"adapters of {len(people)} people" if people else ""

    def erase(self, folder: Path, leaving: Leaving) -> Sequence[Effect]:
        """Take them out, and let the part be unfinished."""
        people = _concerned(folder, leaving)
        if not people:
            return []
        store = AdapterStore.open(folder)
        with store.writing():
            if (folder / PART).is_file():
                write_json(folder / PART, {**read_json(folder / PART), "finished": False})
            store.compact(set(people))
        why = "the part is unfinished now: run that shard again (idiolect personalize --shard)"
        return [
            Effect(
                what="adapter in a part",
                where=folder,
                outcome="removed" if p == leaving.person else "taken away",
                person=p,
                why="" if p == leaving.person and leaving.whole else why,
            )
            for p in people
        ]

    def scan(self, path: Path) -> Words | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None


def _concerned(folder: Path, leaving: Leaving) -> list[str]:
    if not (folder / AdapterStore.HEAD).is_file() or folder.parent.name != PARTS:
        return []
    store = AdapterStore.open(folder)
    if not leaving.is_theirs(store.task):
        return []
    return sorted(p for p in {leaving.person, *leaving.changed} if store.mentions(p))


class Adaptations:
    """Checkpoints of adaptations: they say of nobody whether they are in it, and are deleted."""

    def find(self, folder: Path, leaving: Leaving) -> str:
        """Whether there is one."""
        return "a base being adapted" if _checkpoints(folder) else ""

    def erase(self, folder: Path, leaving: Leaving) -> Sequence[Effect]:
        """Delete them: the adaptation starts anew."""
        found = _checkpoints(folder)
        for path in found:
            path.unlink(missing_ok=True)
        why = "of a base being adapted, on whose items it does not say"
        return [Effect(what="checkpoint", where=path, outcome="deleted", why=why) for path in found]

    def scan(self, path: Path) -> Words | None:
        """Nothing but numbers."""
        return None


def _checkpoints(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.glob(f".*{ADAPTING}")) if p.is_file()]
