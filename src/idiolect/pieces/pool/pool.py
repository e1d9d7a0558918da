"""A pool of pieces in one folder: what sharers gave, under pseudonyms, and what all was made for.

``pool.json`` says for which base, task and kind of adapter; ``segments/`` holds the gates and makes
a sharer exist, ``pieces/`` one file a sharer. Who comes adds files and changes none; who leaves
changes nobody else's bytes. Knows nothing of people, training or choosing.

Shapes: ``S`` sharers, ``D``/``O`` widths of a module in and out, ``R`` rank.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig, Site, sites
from idiolect.adapters.store.artifact import BoundFolder
from idiolect.adapters.store.shard_index import read_numbered, records_file
from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.pieces.pool.adapter_file import (
    Pair,
    SharerFiles,
    sharer_file,
    sharers_with_files,
    write_pieces,
)
from idiolect.pieces.pool.contribution import Shared, check_entry, pseudonym, stacked_gates
from idiolect.pieces.pool.segment import (
    Segment,
    SharerRecord,
    check_gates,
    erase_rows,
    read_gates,
    read_segment,
    require_unit,
    row_sha256,
    write_gates,
    write_records,
)
from idiolect.storage.files import clean_partials, is_working_file, lock, write_json

HELD_BYTES = 2**28
"""Gates of a pool that takes no more than this are held once they are read: 1,000 sharers' of a
base of 135M parameters."""


class Pool(BoundFolder):
    """An open pool; reading needs no lock, writing happens inside ``writing``."""

    HEAD = "pool.json"
    WHAT = "pool of pieces"
    MAKE = "share"

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        super().__init__(folder, head)
        if not isinstance(self.adapter_config, LoraConfig):
            raise self.no_head(f"pieces are of LoRA, not of {self.adapter_config.kind}")
        self.lora: LoraConfig = self.adapter_config
        try:
            self.id = str(head["id"])
            self.modules = tuple(Site(**site) for site in head["sites"])
            """The modules that carry adapters, with their widths, in the model's order."""
        except (KeyError, TypeError) as error:
            raise self.no_head(error) from error
        self.sites: tuple[str, ...] = tuple(site.path for site in self.modules)
        self._segments: dict[int, Segment] = {}
        self._where: dict[str, tuple[int, SharerRecord]] = {}
        self._verified: set[int] = set()
        """Numbers of segments."""
        self._matrices: dict[str, Tensor] = {}
        """Gates that were read, of pools that are small enough."""
        self._held_as: tuple[tuple[int, int], ...] = ()
        self._files = SharerFiles(self._pieces)
        self._given: Tensor | None = None
        """Who shares which site [S * M], once somebody asked."""
        self._read()

    @staticmethod
    def create(
        folder: Path, base: Base, *, source: str, task: str, lora: LoraConfig, settings: object
    ) -> Pool:
        """Make a pool, or open the one there if it was made for the same base, task and kind.

        The head is written once: a pool keeps the settings it was made with. Raises UsageError for
        adapters that the base has no place for, or where other files are.
        """
        found = sites(base.model, lora)
        with lock(folder, wait=True, what="the pool"):
            if not (folder / Pool.HEAD).exists():
                Pool.require_free(folder)
                head = Pool.head_for(base, source=source, task=task, config=lora, settings=settings)
                head |= {"id": pseudonym(), "sites": [asdict(site) for site in found]}
                write_json(folder / Pool.HEAD, head)
        pool = Pool.open(folder)
        pool.require(base=base.identity, task=task, config=lora)
        return pool

    @staticmethod
    def open(folder: Path) -> Pool:
        """Open a pool; raises MissingError, or IntegrityError for foreign or changed files."""
        return Pool(folder, Pool.read_head(folder))

    @contextmanager
    def writing(self, *, wait: bool | float = True) -> Generator[None]:
        """Hold the pool against other writers; what a killed one left is finished first."""
        with lock(self.folder, wait=wait, what="the pool"):
            for folder in (self.folder, self._gates, self._pieces):
                clean_partials(folder)
            self._read()
            self._finish()
            yield

    @property
    def sharers(self) -> tuple[str, ...]:
        """Everyone in the pool, in the order of their rows."""
        return tuple(self._where)

    def record(self, sharer: str) -> SharerRecord:
        """What is known of a sharer; raises MissingError for a stranger."""
        return self._find(sharer)[1]

    def gates(self, path: str) -> Tensor:
        """LN(g) of everyone at one site [S, D] (fp32), zeros where they do not share it.

        All gates are checked when they are first used; those of a pool that takes no more than
        ``HELD_BYTES`` stay in memory until somebody withdraws. Raises IntegrityError.
        """
        if 4 * len(self._where) * sum(site.inputs for site in self.modules) > HELD_BYTES:
            return self._read_gates(path)
        now = self._written()
        if now != self._held_as:
            self._matrices, self._held_as = {}, now
        if path not in self._matrices:
            self._matrices[path] = self._read_gates(path)
        return self._matrices[path]

    def _written(self) -> tuple[tuple[int, int], ...]:
        """Which files the records stand in: to withdraw writes them anew."""
        found = (records_file(self._gates, number) for number in self._segments)
        stats = (path.stat() for path in found if path.is_file())
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in stats)

    def _read_gates(self, path: str) -> Tensor:
        at = self._index(path)
        used = [segment for segment in self._segments.values() if segment.records]
        for segment in used:
            if segment.number not in self._verified:
                check_gates(self._gates, segment, self.sites)
                self._verified.add(segment.number)
        parts = [read_gates(self._gates, segment, path) for segment in used]
        matrix = torch.cat([torch.zeros(0, self.modules[at].inputs), *parts])
        require_unit(matrix, self.shares(path), where=f"{self.folder}: {path}")
        return matrix

    def shares(self, path: str) -> Tensor:
        """Who shares their piece of one site [S] (bool)."""
        if self._given is None:
            flags = "".join(record.shared for _, record in self._where.values())
            self._given = torch.tensor(bytearray(flags, "ascii"), dtype=torch.uint8) == ord("1")
        return self._given.view(-1, len(self.sites))[:, self._index(path)]

    def shared(self, sharer: str) -> tuple[str, ...]:
        """The sites that a sharer shares."""
        given = self.record(sharer).shared
        return tuple(path for path, flag in zip(self.sites, given, strict=True) if flag == "1")

    def pieces(self, sharer: str, paths: Collection[str] | None = None) -> dict[str, Pair]:
        """A [R, D] and B [O, R] (fp32) by site: of all sites that a sharer shares, or of some.

        Raises MissingError for a stranger or a site they do not share, IntegrityError for a
        changed file.
        """
        record, shared = self.record(sharer), self.shared(sharer)
        for path in paths or ():
            if path not in shared:
                raise MissingError(f"{self.folder}: sharer {sharer} does not share {path}")
        wanted = shared if paths is None else paths
        return self._files.read(sharer, wanted, sha256=record.pieces_sha256)

    def adapter(self, sharer: str) -> LoraAdapter:
        """A sharer's pieces as an adapter, zeros at the sites they do not share."""
        rank = self.lora.rank
        pairs = {
            site.path: (torch.zeros(rank, site.inputs), torch.zeros(site.outputs, rank))
            for site in self.modules
        }
        pairs |= self.pieces(sharer)
        return LoraAdapter(config=self.lora, base=self.base, pairs=pairs)

    def add(self, entries: Sequence[Shared]) -> None:
        """Take sharers in, in files of their own: after it returns they are in for good.

        Raises UsageError for what is no pseudonym or no number, MismatchError for an adapter of
        another base or kind, IntegrityError for numbers that are not finite and gates that choose
        nobody; then nobody is taken in.
        """
        if not entries:
            return
        for entry in entries:
            self.require(base=entry.adapter.base, config=entry.adapter.config)
            check_entry(entry, self.modules, where=str(self.folder))
        names = [entry.sharer for entry in entries]
        if len(set(names)) < len(names) or self._where.keys() & set(names):
            raise UsageError(f"{self.folder}: a sharer is there already; draw another pseudonym")
        gates = stacked_gates(entries, self.modules)
        number = max(self._segments, default=0) + 1
        sums = [
            write_pieces(
                self._pieces,
                entry.sharer,
                {path: entry.adapter.pairs[path] for path in entry.sites},
                base=self.base,
            )
            for entry in entries
        ]
        header = write_gates(self._gates, number, gates)
        records = tuple(
            SharerRecord(
                sharer=entry.sharer,
                row=row,
                shared="".join("1" if path in entry.sites else "0" for path in self.sites),
                gates_sha256=row_sha256([gates[path][row] for path in self.sites]),
                pieces_sha256=sums[row],
                about=dict(entry.about),
            )
            for row, entry in enumerate(entries)
        )
        segment = Segment(number, header, records)
        write_records(self._gates, self.id, segment)
        self._know(segment)

    def withdraw(self, sharers: Collection[str]) -> None:
        """Take sharers out: after it returns nothing of them is left in the folder.

        What a kill leaves, the next writer finishes. Raises MissingError for a stranger; then
        everybody stays.
        """
        numbers = {self._find(sharer)[0] for sharer in sharers}
        for number in sorted(numbers):
            segment = self._segments[number]
            kept = tuple(r for r in segment.records if r.sharer not in sharers)
            write_records(self._gates, self.id, segment._replace(records=kept))
        self._read()
        self._finish()

    def _finish(self) -> None:
        """Erase whatever no record speaks of: of killed writers, and of those who withdrew.

        A segment that nobody is left in keeps its records' file, so that its number is not taken
        again.
        """
        for path in self._gates.glob("*.safetensors"):
            segment = self._segments.get(int(path.stem))
            if segment and segment.records:
                erase_rows(self._gates, segment)
            else:
                path.unlink()
        for sharer in sharers_with_files(self._pieces):
            if sharer not in self._where:
                sharer_file(self._pieces, sharer).unlink()

    def _find(self, sharer: str) -> tuple[int, SharerRecord]:
        if sharer not in self._where:
            raise MissingError(f"{self.folder}: there is no sharer {sharer} in this pool")
        return self._where[sharer]

    def _index(self, path: str) -> int:
        if path not in self.sites:
            raise MissingError(f"{self.folder}: no piece is of a module {path!r}")
        return self.sites.index(path)

    def _read(self) -> None:
        """Read every segment's records; raises IntegrityError for files that do not belong."""
        self._refuse_foreign()
        found = read_numbered(
            self._gates, lambda path: read_segment(path, pool=self.id, sites=len(self.sites))
        )
        self._segments, self._where = {}, {}
        self._files.close()
        for segment in found:
            self._know(segment)

    def _refuse_foreign(self) -> None:
        for path in self.folder.iterdir():
            ours = path.name in (self.HEAD, self._gates.name, self._pieces.name)
            if not ours and not is_working_file(path.name):
                raise IntegrityError(f"{path}: a foreign file in a pool; take it out")
        sharers_with_files(self._pieces)

    def _know(self, segment: Segment) -> None:
        names = [record.sharer for record in segment.records]
        if len(set(names)) < len(names) or self._where.keys() & set(names):
            path = records_file(self._gates, segment.number)
            raise IntegrityError(f"{path}: names a sharer twice; restore it from a copy")
        self._given, self._matrices = None, {}
        self._segments[segment.number] = segment
        self._where |= {record.sharer: (segment.number, record) for record in segment.records}

    @property
    def _gates(self) -> Path:
        return self.folder / "segments"

    @property
    def _pieces(self) -> Path:
        return self.folder / "pieces"
