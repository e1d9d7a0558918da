"""Parts of a sharded run on disk: which person belongs to which, and whether all are complete.

A part is ``STORE/parts/k-of-N``: a store of its own, with a ``part.json`` that says what run it
belongs to and whether it is finished. This module does not train.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.adapters.store.store import PARTS_FOLDER
from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.storage.files import is_working_file, read_json, write_json

PART_STATE_FILE = "part.json"
_PART_FOLDER_NAME = re.compile(r"(\d{5,})-of-(\d{5,})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class RunShard:
    """Shard ``number`` (from 1) of ``total``."""

    number: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.total:
            raise UsageError(
                f"shard {self.number}/{self.total} does not exist; the shards of N are 1/N to N/N"
            )

    @staticmethod
    def parse(text: str) -> RunShard:
        """Parse ``k/N``; raises UsageError."""
        match = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
        if not match:
            raise UsageError(f"shard {text!r}: write K/N with K from 1 to N, e.g. 3/8")
        return RunShard(int(match[1]), int(match[2]))

    def includes_person(self, person: str) -> bool:
        """Return whether a person belongs to this shard; depends only on their id and ``total``."""
        return derive_seed(0, person, "shard") % self.total == self.number - 1

    def get_folder(self, store: Path) -> Path:
        """Return the folder of its part."""
        return store / PARTS_FOLDER / f"{self.number:05d}-of-{self.total:05d}"

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def list_parts(store: Path) -> tuple[RunShard, ...]:
    """List the parts that wait to be merged, in order; raises IntegrityError for a foreign file."""
    folder, found = store / PARTS_FOLDER, []
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_working_file(path.name):
            continue
        match = _PART_FOLDER_NAME.fullmatch(path.name)
        if match is None:
            raise IntegrityError(f"{path}: a foreign file among the parts of a store; remove it")
        found.append(RunShard(int(match[1]), int(match[2])))
    return tuple(sorted(found))


def require_shard_count(store: Path, of: int) -> None:
    """Raise UsageError if parts of another number of shards than ``of`` wait."""
    others = sorted({part.total for part in list_parts(store)} - {of})
    if others:
        raise UsageError(
            f"{store / PARTS_FOLDER}: holds parts of a run in {others[0]} shards, this is one of "
            f"{of}; finish that run and merge it (idiolect merge {store}), or remove the folder"
        )


def require_no_parts(store: Path) -> None:
    """Raise UsageError if parts wait: their people would be trained a second time."""
    waiting = list_parts(store)
    if waiting:
        raise UsageError(
            f"{store / PARTS_FOLDER}: parts of a run in {waiting[0].total} shards wait there; "
            f"merge them first (idiolect merge {store}), or remove the folder"
        )


def write_state(folder: Path, description: Mapping[str, Any], *, finished: bool) -> None:
    """Write what run a part belongs to, and whether it is finished.

    A part that is already finished for the same run stays finished.
    """
    # Not rewritten if it is already finished for the same run.
    path, state = folder / PART_STATE_FILE, {"asked": description, "finished": True}
    if not path.is_file() or read_json(path) != state:
        write_json(path, state | {"finished": finished})


def read_state(shard: RunShard, store: Path) -> Mapping[str, Any]:
    """Read a part's state; one without a file is not finished."""
    path = shard.get_folder(store) / PART_STATE_FILE
    return read_json(path) if path.is_file() else {"asked": None, "finished": False}


def require_complete(store: Path, parts: Sequence[RunShard]) -> Mapping[str, Any]:
    """Return what run all parts belong to.

    Raises MissingError if a part is missing or not finished, MismatchError if parts are of
    different runs.
    """
    require_shard_count(store, parts[0].total)
    of, there = parts[0].total, {part.number for part in parts}
    # Parts that do not exist, then parts that exist but are not finished.
    missing = [RunShard(n, of) for n in range(1, of + 1) if n not in there]
    missing += [part for part in parts if not read_state(part, store)["finished"]]
    if missing:
        named = ", ".join(map(str, sorted(missing)[:8])) + (", ..." if len(missing) > 8 else "")
        raise MissingError(
            f"{store / PARTS_FOLDER}: {len(missing)} of {of} parts missing or not finished: "
            f"{named}; run them again (idiolect personalize ... --shard K/N), then merge"
        )
    description = read_state(parts[0], store)["asked"]
    for part in parts[1:]:
        require_finished(part, store, description)
    return description


def require_finished(shard: RunShard, store: Path, description: Mapping[str, Any]) -> None:
    """Raise MissingError if a part is not finished, MismatchError if it is of another run."""
    state = read_state(shard, store)
    if not state["finished"]:
        raise MissingError(
            f"{shard.get_folder(store)}: is being trained again; merge after it finishes"
        )
    differing = sorted(_iter_differences(description, state["asked"]))
    if differing:
        raise MismatchError(
            f"{store / PARTS_FOLDER}: part {shard} was made with other {', '.join(differing)} "
            "than the first part; run all shards again with the same data and settings"
        )


def _iter_differences(
    one: Mapping[str, Any], other: Mapping[str, Any], at: str = ""
) -> Iterator[str]:
    """Yield the dotted names under which two nested tables differ."""
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _iter_differences(a, b, f"{at}{name}.")
        elif a != b:
            yield f"{at}{name}"
