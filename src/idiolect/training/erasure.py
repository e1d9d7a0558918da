"""What training leaves while it goes on, as holders of personal data: parts of sharded runs, and
checkpoints of a base being adapted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.store.store import PARTS_FOLDER, AdapterStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.scan import LabeledTexts
from idiolect.storage.files import read_json, write_json
from idiolect.training.sharded.parts import PART_STATE_FILE

CHECKPOINT_SUFFIX = ".adapting"


class PartErasure:
    """Parts that wait to be merged: who leaves goes, and who is to be trained anew is trained when
    that shard is run again."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """How many people in it go."""
        people = _find_affected_people(folder, leaving)
        return f"adapters of {len(people)} people" if people else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Take them out, and let the part be unfinished."""
        people = _find_affected_people(folder, leaving)
        if not people:
            return []
        store = AdapterStore.open(folder)
        with store.lock_for_writing():
            if (folder / PART_STATE_FILE).is_file():
                write_json(
                    folder / PART_STATE_FILE,
                    {**read_json(folder / PART_STATE_FILE), "finished": False},
                )
            store.compact(set(people))
        why = "the part is unfinished now: run that shard again (idiolect personalize --shard)"
        return [
            ErasureEffect(
                what="adapter in a part",
                where=folder,
                outcome="removed" if p == leaving.person else "discarded",
                person=p,
                why="" if p == leaving.person and leaving.is_whole_person else why,
            )
            for p in people
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None


def _find_affected_people(folder: Path, leaving: ErasureRequest) -> list[str]:
    if not (folder / AdapterStore.HEADER_FILE).is_file() or folder.parent.name != PARTS_FOLDER:
        return []
    store = AdapterStore.open(folder)
    if not leaving.is_same_person(store.task):
        return []
    return sorted(p for p in {leaving.person, *leaving.affected_people} if store.mentions_person(p))


class AdaptationErasure:
    """Checkpoints of adaptations: they say of nobody whether they are in it, and are deleted."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether there is one."""
        return "a base being adapted" if _list_checkpoints(folder) else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete them: the adaptation starts anew."""
        found = _list_checkpoints(folder)
        for path in found:
            path.unlink(missing_ok=True)
        why = "of a base being adapted, on whose items it does not say"
        return [
            ErasureEffect(what="checkpoint", where=path, outcome="deleted", why=why)
            for path in found
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Nothing but numbers."""
        return None


def _list_checkpoints(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.glob(f".*{CHECKPOINT_SUFFIX}")) if p.is_file()]
