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

from idiolect.adapters.lora import LoraAdapter, LoraConfig, TargetModule, target_modules
from idiolect.adapters.store.artifact import BaseBoundArtifact
from idiolect.adapters.store.shard_index import get_records_path, read_numbered
from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.pieces.pool.adapter_file import (
    AdapterFiles,
    Pair,
    get_adapter_path,
    list_sharers,
    write_pieces,
)
from idiolect.pieces.pool.contribution import (
    Contribution,
    check_contribution,
    make_pseudonym,
    stack_gates,
)
from idiolect.pieces.pool.segment import (
    GateSegment,
    SharerRecord,
    check_gates,
    hash_rows,
    read_gates,
    read_segment,
    require_normalised,
    write_gates,
    write_records,
    zero_rows,
)
from idiolect.storage.files import clean_partials, hold_lock, is_working_file, write_json

MAX_CACHE_BYTES = 2**28
"""Gates of a pool that takes no more than this are held once they are read: 1,000 sharers' of a
base of 135M parameters."""


class Pool(BaseBoundArtifact):
    """An open pool; reading needs no lock, writing happens inside ``writing``."""

    HEADER_FILE = "pool.json"
    DISPLAY_NAME = "pool of pieces"
    COMMAND = "share"

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        super().__init__(folder, head)
        if not isinstance(self.adapter_config, LoraConfig):
            raise self.make_header_error(f"pieces are of LoRA, not of {self.adapter_config.kind}")
        self.lora: LoraConfig = self.adapter_config
        try:
            self.id = str(head["id"])
            self.modules = tuple(TargetModule(**site) for site in head["sites"])
            """The modules that carry adapters, with their widths, in the model's order."""
        except (KeyError, TypeError) as error:
            raise self.make_header_error(error) from error
        self.sites: tuple[str, ...] = tuple(site.path for site in self.modules)
        self._segments: dict[int, GateSegment] = {}
        self._records: dict[str, tuple[int, SharerRecord]] = {}
        self._verified: set[int] = set()
        """Numbers of segments."""
        self._gate_cache: dict[str, Tensor] = {}
        """Gates that were read, of pools that are small enough."""
        self._gate_cache_version: tuple[tuple[int, int], ...] = ()
        self._files = AdapterFiles(self._pieces_folder)
        self._shared_flags: Tensor | None = None
        """Who shares which site [S * M], once somebody asked."""
        self._read_records()

    @staticmethod
    def create(
        folder: Path, base: Base, *, source: str, task: str, lora: LoraConfig, settings: object
    ) -> Pool:
        """Make a pool, or open the one there if it was made for the same base, task and kind.

        The head is written once: a pool keeps the settings it was made with. Raises UsageError for
        adapters that the base has no place for, or where other files are.
        """
        found = target_modules(base.model, lora)
        with hold_lock(folder, wait=True, what="the pool"):
            if not (folder / Pool.HEADER_FILE).exists():
                Pool.check_folder_free(folder)
                head = Pool.make_header(
                    base, source=source, task=task, config=lora, settings=settings
                )
                head |= {"id": make_pseudonym(), "sites": [asdict(site) for site in found]}
                write_json(folder / Pool.HEADER_FILE, head)
        pool = Pool.open(folder)
        pool.check_compatible(base=base.identity, task=task, config=lora)
        return pool

    @staticmethod
    def open(folder: Path) -> Pool:
        """Open a pool; raises MissingError, or IntegrityError for foreign or changed files."""
        return Pool(folder, Pool.read_header(folder))

    @contextmanager
    def lock_for_writing(self, *, wait: bool | float = True) -> Generator[None]:
        """Hold the pool against other writers; what a killed one left is finished first."""
        with hold_lock(self.folder, wait=wait, what="the pool"):
            for folder in (self.folder, self._gates_folder, self._pieces_folder):
                clean_partials(folder)
            self._read_records()
            self._erase_unrecorded()
            yield

    @property
    def sharers(self) -> tuple[str, ...]:
        """Everyone in the pool, in the order of their rows."""
        return tuple(self._records)

    def get_record(self, sharer: str) -> SharerRecord:
        """What is known of a sharer; raises MissingError for a stranger."""
        return self._find_sharer(sharer)[1]

    def load_gates(self, path: str) -> Tensor:
        """LN(g) of everyone at one site [S, D] (fp32), zeros where they do not share it.

        All gates are checked when they are first used; those of a pool that takes no more than
        ``HELD_BYTES`` stay in memory until somebody withdraws. Raises IntegrityError.
        """
        if 4 * len(self._records) * sum(site.inputs for site in self.modules) > MAX_CACHE_BYTES:
            return self._read_checked_gates(path)
        now = self._read_file_versions()
        if now != self._gate_cache_version:
            self._gate_cache, self._gate_cache_version = {}, now
        if path not in self._gate_cache:
            self._gate_cache[path] = self._read_checked_gates(path)
        return self._gate_cache[path]

    def _read_file_versions(self) -> tuple[tuple[int, int], ...]:
        """Which files the records stand in: to withdraw writes them anew."""
        found = (get_records_path(self._gates_folder, number) for number in self._segments)
        stats = (path.stat() for path in found if path.is_file())
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in stats)

    def _read_checked_gates(self, path: str) -> Tensor:
        at = self._find_site_index(path)
        used = [segment for segment in self._segments.values() if segment.records]
        for segment in used:
            if segment.number not in self._verified:
                check_gates(self._gates_folder, segment, self.sites)
                self._verified.add(segment.number)
        parts = [read_gates(self._gates_folder, segment, path) for segment in used]
        matrix = torch.cat([torch.zeros(0, self.modules[at].inputs), *parts])
        require_normalised(matrix, self.get_shared_mask(path), where=f"{self.folder}: {path}")
        return matrix

    def get_shared_mask(self, path: str) -> Tensor:
        """Who shares their piece of one site [S] (bool)."""
        if self._shared_flags is None:
            flags = "".join(record.shared for _, record in self._records.values())
            self._shared_flags = torch.tensor(bytearray(flags, "ascii"), dtype=torch.uint8) == ord(
                "1"
            )
        return self._shared_flags.view(-1, len(self.sites))[:, self._find_site_index(path)]

    def list_shared_sites(self, sharer: str) -> tuple[str, ...]:
        """The sites that a sharer shares."""
        given = self.get_record(sharer).shared
        return tuple(path for path, flag in zip(self.sites, given, strict=True) if flag == "1")

    def load_pieces(self, sharer: str, paths: Collection[str] | None = None) -> dict[str, Pair]:
        """A [R, D] and B [O, R] (fp32) by site: of all sites that a sharer shares, or of some.

        Raises MissingError for a stranger or a site they do not share, IntegrityError for a
        changed file.
        """
        record, shared = self.get_record(sharer), self.list_shared_sites(sharer)
        for path in paths or ():
            if path not in shared:
                raise MissingError(f"{self.folder}: sharer {sharer} does not share {path}")
        wanted = shared if paths is None else paths
        return self._files.read_pieces(sharer, wanted, sha256=record.pieces_sha256)

    def get_adapter(self, sharer: str) -> LoraAdapter:
        """A sharer's pieces as an adapter, zeros at the sites they do not share."""
        rank = self.lora.rank
        pairs = {
            site.path: (torch.zeros(rank, site.inputs), torch.zeros(site.outputs, rank))
            for site in self.modules
        }
        pairs |= self.load_pieces(sharer)
        return LoraAdapter(config=self.lora, base=self.base, pairs=pairs)

    def add_sharers(self, entries: Sequence[Contribution]) -> None:
        """Take sharers in, in files of their own: after it returns they are in for good.

        Raises UsageError for what is no pseudonym or no number, MismatchError for an adapter of
        another base or kind, IntegrityError for numbers that are not finite and gates that choose
        nobody; then nobody is taken in.
        """
        if not entries:
            return
        for entry in entries:
            self.check_compatible(base=entry.adapter.base, config=entry.adapter.config)
            check_contribution(entry, self.modules, where=str(self.folder))
        names = [entry.sharer for entry in entries]
        if len(set(names)) < len(names) or self._records.keys() & set(names):
            raise UsageError(f"{self.folder}: a sharer is there already; draw another pseudonym")
        gates = stack_gates(entries, self.modules)
        number = max(self._segments, default=0) + 1
        sums = [
            write_pieces(
                self._pieces_folder,
                entry.sharer,
                {path: entry.adapter.pairs[path] for path in entry.sites},
                base=self.base,
            )
            for entry in entries
        ]
        header = write_gates(self._gates_folder, number, gates)
        records = tuple(
            SharerRecord(
                sharer=entry.sharer,
                row=row,
                shared="".join("1" if path in entry.sites else "0" for path in self.sites),
                gates_sha256=hash_rows([gates[path][row] for path in self.sites]),
                pieces_sha256=sums[row],
                about=dict(entry.about),
            )
            for row, entry in enumerate(entries)
        )
        segment = GateSegment(number, header, records)
        write_records(self._gates_folder, self.id, segment)
        self._register_segment(segment)

    def remove_sharers(self, sharers: Collection[str]) -> None:
        """Take sharers out: after it returns nothing of them is left in the folder.

        What a kill leaves, the next writer finishes. Raises MissingError for a stranger; then
        everybody stays.
        """
        numbers = {self._find_sharer(sharer)[0] for sharer in sharers}
        for number in sorted(numbers):
            segment = self._segments[number]
            kept = tuple(r for r in segment.records if r.sharer not in sharers)
            write_records(self._gates_folder, self.id, segment._replace(records=kept))
        self._read_records()
        self._erase_unrecorded()

    def _erase_unrecorded(self) -> None:
        """Erase whatever no record speaks of: of killed writers, and of those who withdrew.

        A segment that nobody is left in keeps its records' file, so that its number is not taken
        again.
        """
        for path in self._gates_folder.glob("*.safetensors"):
            segment = self._segments.get(int(path.stem))
            if segment and segment.records:
                zero_rows(self._gates_folder, segment)
            else:
                path.unlink()
        for sharer in list_sharers(self._pieces_folder):
            if sharer not in self._records:
                get_adapter_path(self._pieces_folder, sharer).unlink()

    def _find_sharer(self, sharer: str) -> tuple[int, SharerRecord]:
        if sharer not in self._records:
            raise MissingError(f"{self.folder}: there is no sharer {sharer} in this pool")
        return self._records[sharer]

    def _find_site_index(self, path: str) -> int:
        if path not in self.sites:
            raise MissingError(f"{self.folder}: no piece is of a module {path!r}")
        return self.sites.index(path)

    def _read_records(self) -> None:
        """Read every segment's records; raises IntegrityError for files that do not belong."""
        self._refuse_foreign()
        found = read_numbered(
            self._gates_folder, lambda path: read_segment(path, pool=self.id, sites=len(self.sites))
        )
        self._segments, self._records = {}, {}
        self._files.close()
        for segment in found:
            self._register_segment(segment)

    def _refuse_foreign(self) -> None:
        for path in self.folder.iterdir():
            ours = path.name in (
                self.HEADER_FILE,
                self._gates_folder.name,
                self._pieces_folder.name,
            )
            if not ours and not is_working_file(path.name):
                raise IntegrityError(f"{path}: a foreign file in a pool; take it out")
        list_sharers(self._pieces_folder)

    def _register_segment(self, segment: GateSegment) -> None:
        names = [record.sharer for record in segment.records]
        if len(set(names)) < len(names) or self._records.keys() & set(names):
            path = get_records_path(self._gates_folder, segment.number)
            raise IntegrityError(f"{path}: names a sharer twice; restore it from a copy")
        self._shared_flags, self._gate_cache = None, {}
        self._segments[segment.number] = segment
        self._records |= {record.sharer: (segment.number, record) for record in segment.records}

    @property
    def _gates_folder(self) -> Path:
        return self.folder / "segments"

    @property
    def _pieces_folder(self) -> Path:
        return self.folder / "pieces"
