"""Parts of a sharded run on disk: who belongs to which, what each was made of, are all there.

A part is ``STORE/parts/k-of-N``: a store of its own, with a ``part.json`` that says what was asked
for and whether it is finished. Knows nothing of training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.adapters.store.store import PARTS
from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.storage.files import is_working_file, read_json, write_json

PART = "part.json"
_NAME = re.compile(r"(\d{5,})-of-(\d{5,})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class RunShard:
    """Shard ``number`` (from 1) of ``of``."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"shard {self.number}/{self.of}: there is none; the shards of N are 1/N to N/N"
            )

    @staticmethod
    def parse(text: str) -> RunShard:
        """Read ``k/N``; raises UsageError."""
        match = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
        if not match:
            raise UsageError(f"shard {text!r}: write K/N with K from 1 to N, e.g. 3/8")
        return RunShard(int(match[1]), int(match[2]))

    def holds(self, person: str) -> bool:
        """Whether somebody belongs to it; that depends on nothing but their id and ``of``."""
        return derive_seed(0, person, "shard") % self.of == self.number - 1

    def folder(self, store: Path) -> Path:
        """Where its part stands."""
        return store / PARTS / f"{self.number:05d}-of-{self.of:05d}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parts_of(store: Path) -> tuple[RunShard, ...]:
    """The parts that wait to be merged, in order; raises IntegrityError for anything else there."""
    folder, found = store / PARTS, []
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_working_file(path.name):
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise IntegrityError(f"{path}: a foreign file among the parts of a store; take it out")
        found.append(RunShard(int(match[1]), int(match[2])))
    return tuple(sorted(found))


def require_count(store: Path, of: int) -> None:
    """Raise UsageError where parts of another number of shards than ``of`` wait."""
    others = sorted({part.of for part in parts_of(store)} - {of})
    if others:
        raise UsageError(
            f"{store / PARTS}: holds parts of a run in {others[0]} shards, this is one of {of}; "
            f"finish that run and merge it (idiolect merge {store}), or remove the folder"
        )


def require_no_parts(store: Path) -> None:
    """Raise UsageError where parts wait: what they hold would be trained a second time."""
    waiting = parts_of(store)
    if waiting:
        raise UsageError(
            f"{store / PARTS}: parts of a run in {waiting[0].of} shards wait there; merge them "
            f"first (idiolect merge {store}), or remove the folder"
        )


def mark(folder: Path, asked: Mapping[str, Any], *, finished: bool) -> None:
    """Note what a part is of, and whether it is whole; one that is whole stays so."""
    path, state = folder / PART, {"asked": asked, "finished": True}
    if not path.is_file() or read_json(path) != state:
        write_json(path, state | {"finished": finished})


def state_of(shard: RunShard, store: Path) -> Mapping[str, Any]:
    path = shard.folder(store) / PART
    return read_json(path) if path.is_file() else {"asked": None, "finished": False}


def require_whole(store: Path, parts: Sequence[RunShard]) -> Mapping[str, Any]:
    """What all parts were asked for; raises where they are not the whole of one run."""
    require_count(store, parts[0].of)
    of, there = parts[0].of, {part.number for part in parts}
    missing = [RunShard(n, of) for n in range(1, of + 1) if n not in there]
    missing += [part for part in parts if not state_of(part, store)["finished"]]
    if missing:
        named = ", ".join(map(str, sorted(missing)[:8])) + (", ..." if len(missing) > 8 else "")
        raise MissingError(
            f"{store / PARTS}: {len(missing)} of {of} parts missing or not finished: {named}; run "
            "them again (idiolect personalize ... --shard K/N), then merge"
        )
    asked = state_of(parts[0], store)["asked"]
    for part in parts[1:]:
        require_finished(part, store, asked)
    return asked


def require_finished(shard: RunShard, store: Path, asked: Mapping[str, Any]) -> None:
    """Raise MismatchError where a part is not (any more) what the first one is."""
    state = state_of(shard, store)
    if not state["finished"]:
        raise MissingError(f"{shard.folder(store)}: is being trained again; merge when it is done")
    differing = sorted(_differences(asked, state["asked"]))
    if differing:
        raise MismatchError(
            f"{store / PARTS}: part {shard} was made with other {', '.join(differing)} than the "
            "first part; run all shards again with the same data and settings"
        )


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Dotted names under which two nested tables differ."""
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{at}{name}.")
        elif a != b:
            yield f"{at}{name}"
