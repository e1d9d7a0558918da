"""Erasure from training's working files: parts of sharded runs, and adaptation checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.adapters.store.store import PARTS_FOLDER, AdapterStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.search.file_search import LabeledTexts
from idiolect.storage.files import read_json, write_json
from idiolect.training.sharded.parts import PART_STATE_FILE

CHECKPOINT_SUFFIX = ".adapting"


class PartErasure:
    """Erasure from parts that wait to be merged.

    Adapters of the person to erase are removed. Adapters of people who must be trained again are
    removed too, and the part becomes unfinished until its shard runs again.
    """

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Say how many people's adapters are affected; empty if none."""
        people = _find_affected_people(folder, leaving)
        return f"adapters of {len(people)} people" if people else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        why = "the part is now unfinished; run its shard again (idiolect personalize --shard)"
        return [
            ErasureEffect(
                what="adapter in a part",
                where=folder,
                outcome="removed" if p == leaving.person else "discarded",
                person=p,
                why="" if p == leaving.person and leaving.is_whole_person else why,
            )
            for p in _find_affected_people(folder, leaving)
        ]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Remove the affected adapters and mark the part as unfinished."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        store = AdapterStore.open(folder)
        # Mark as unfinished before removing: a kill in between must not leave a finished part with
        # people missing.
        with store.lock_for_writing():
            if (folder / PART_STATE_FILE).is_file():
                write_json(
                    folder / PART_STATE_FILE,
                    {**read_json(folder / PART_STATE_FILE), "finished": False},
                )
            store.compact({effect.person for effect in effects})
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: a part holds safetensors and JSON, which the general scan reads."""
        return None


def _find_affected_people(folder: Path, leaving: ErasureRequest) -> list[str]:
    """List the people of a part whose adapters must go; empty if the folder is no part."""
    if not (folder / AdapterStore.HEADER_FILE).is_file() or folder.parent.name != PARTS_FOLDER:
        return []
    store = AdapterStore.open(folder)
    if not leaving.covers_task(store.task):
        return []
    return sorted(p for p in {leaving.person, *leaving.affected_people} if store.mentions_person(p))


class AdaptationErasure:
    """Erasure of task adaptation's checkpoints, all of them: they do not name their people."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Say whether the folder holds such a checkpoint; empty if not."""
        return "checkpoint of a task adaptation" if _list_checkpoints(folder) else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        why = "of an unfinished task adaptation; it does not name the people whose items it used"
        return [
            ErasureEffect(what="checkpoint", where=path, outcome="deleted", why=why)
            for path in _list_checkpoints(folder)
        ]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Delete the checkpoints; the adaptation then starts from the beginning."""
        effects = self.preview(folder, leaving)
        for effect in effects:
            effect.where.unlink(missing_ok=True)
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: a checkpoint holds numbers only."""
        return None


def _list_checkpoints(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.glob(f".*{CHECKPOINT_SUFFIX}")) if p.is_file()]
