"""A pool of pieces in one folder: what sharers gave, under pseudonyms.

``pool.json`` names the base, the task and the kind of adapter. ``segments/`` holds the gates and
the records that define who is in the pool. ``pieces/`` holds one file per sharer. Adding a sharer
adds files and changes none; removing a sharer leaves the bytes of all others unchanged. This module
does not depend on people, training or assembly.

Shapes: ``S`` sharers, ``M`` modules, ``D``/``O`` input and output widths of a module, ``R`` rank.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig, target_modules
from idiolect.adapters.store.artifact import BaseBoundArtifact
from idiolect.adapters.store.shard_index import get_records_path, get_tensors_path, read_numbered
from idiolect.adapters.targets.linear import TargetModule
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
    round_figures,
    stack_gates,
)
from idiolect.pieces.pool.segment import (
    GateSegment,
    SharerRecord,
    check_gates,
    hash_rows,
    make_changed_error,
    read_gates,
    read_segment,
    require_normalized,
    write_gates,
    write_records,
    zero_rows,
)
from idiolect.storage.files import clean_partials, hold_lock, is_working_file, write_json
from idiolect.storage.verified import FileState, VerifiedFiles, is_settled, read_state

MAX_CACHE_BYTES = 2**28
"""Gates are cached in memory if all gates of the pool take at most this: about 1,000 sharers on a
base of 135M parameters."""


class Pool(BaseBoundArtifact):
    """An open pool. Reading needs no lock; write inside ``lock_for_writing``."""

    HEADER_FILE = "pool.json"
    DISPLAY_NAME = "pool of pieces"
    COMMAND = "share"

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        super().__init__(folder, head)
        if not isinstance(self.adapter_config, LoraConfig):
            raise self.make_header_error(
                f"pieces need LoRA adapters, not {self.adapter_config.kind}"
            )
        self.lora: LoraConfig = self.adapter_config
        try:
            self.id = str(head["id"])
            self.modules = tuple(TargetModule(**module) for module in head["sites"])
            """The modules that carry adapters, with their widths, in the model's order."""
        except (KeyError, TypeError) as error:
            raise self.make_header_error(error) from error
        self.sites: tuple[str, ...] = tuple(module.path for module in self.modules)
        """The paths of the modules, in the order of all matrices [M, ...]."""
        # Everything below is read again if another process changed the pool.
        self._segments: dict[int, GateSegment] = {}
        self._records: dict[str, tuple[int, SharerRecord]] = {}
        self._verified = VerifiedFiles()
        """The files of gates that were verified."""
        self._gate_cache: dict[str, Tensor] = {}
        """Gates [S, D] by module, if the pool is small enough to cache."""
        self._gate_cache_version: tuple[tuple[int, int], ...] = ()
        self._files = AdapterFiles(self._pieces_folder)
        self._records_state: FileState | None = None
        """The state of the records' folder when they were read; each change writes a file there."""
        self._shared_flags: Tensor | None = None
        """Which sharer shares which module [S * M]; computed on first use."""
        self._read_records()

    @staticmethod
    def create(
        folder: Path, base: Base, *, source: str, task: str, lora: LoraConfig, settings: object
    ) -> Pool:
        """Create a pool, or open the existing one if it has the same base, task and kind of
        adapter.

        The header is written once, so a pool keeps the settings it was created with. Raises
        UsageError if the base lacks the adapter's target modules or the folder holds other files.
        """
        # Check the base before touching the folder.
        lora = lora.resolve_for(base.model)
        found = target_modules(base.model, lora)
        with hold_lock(folder, wait=True, what="the pool"):
            if not (folder / Pool.HEADER_FILE).exists():
                Pool.check_folder_free(folder)
                head = Pool.make_header(
                    base, source=source, task=task, config=lora, settings=settings
                )
                head |= {"id": make_pseudonym(), "sites": [asdict(module) for module in found]}
                write_json(folder / Pool.HEADER_FILE, head)
        pool = Pool.open(folder)
        pool.check_compatible(base=base.identity, task=task, config=lora)
        return pool

    @staticmethod
    def open(folder: Path) -> Pool:
        """Open a pool. Raises MissingError if there is none, IntegrityError for foreign or changed
        files."""
        return Pool(folder, Pool.read_header(folder))

    @contextmanager
    def lock_for_writing(self, *, wait: bool | float = True) -> Generator[None]:
        """Lock the pool against other writers and first complete what a killed writer left
        behind."""
        with hold_lock(self.folder, wait=wait, what="the pool"):
            for folder in (self.folder, self._gates_folder, self._pieces_folder):
                clean_partials(folder)
            self._read_records()
            self._erase_unrecorded()
            yield

    def refresh_sharers(self) -> None:
        """Read the records again if another process has added or removed sharers. What was read
        before may then not fit any more: the order of ``sharers`` and their gates changes."""
        if self._records_state is None or read_state(self._gates_folder) != self._records_state:
            self._read_records()

    @property
    def sharers(self) -> tuple[str, ...]:
        """All sharers in the pool, in the order of their gate rows."""
        return tuple(self._records)

    def get_record(self, sharer: str) -> SharerRecord:
        """Return a sharer's record. Raises MissingError if the sharer is not in the pool."""
        return self._find_sharer(sharer)[1]

    def load_gates(self, path: str) -> Tensor:
        """Return LN(g) of all sharers for one module [S, D] (fp32); zeros if a sharer does not
        share it.

        All gates are verified on first use. If they take at most ``MAX_CACHE_BYTES``, they stay in
        memory until the pool's records change. Raises IntegrityError if a gate is damaged.
        """
        if 4 * len(self._records) * sum(module.inputs for module in self.modules) > MAX_CACHE_BYTES:
            return self._read_checked_gates(path)
        now = self._read_file_versions()
        if now != self._gate_cache_version:
            self._gate_cache, self._gate_cache_version = {}, now
        if path not in self._gate_cache:
            self._gate_cache[path] = self._read_checked_gates(path)
        return self._gate_cache[path]

    def _read_file_versions(self) -> tuple[tuple[int, int], ...]:
        """Return inode and mtime of each file of records. Removing a sharer rewrites these files,
        so a change invalidates cached gates."""
        found = (get_records_path(self._gates_folder, number) for number in self._segments)
        stats = (path.stat() for path in found if path.is_file())
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in stats)

    def _read_checked_gates(self, path: str) -> Tensor:
        at = self._find_site_index(path)
        used = [segment for segment in self._segments.values() if segment.records]
        parts = [self._read_segment_gates(segment, path) for segment in used]
        gates_SD = torch.cat([torch.zeros(0, self.modules[at].inputs), *parts])
        # A sharer may have withdrawn (their row is zeroed) between the check and this read.
        require_normalized(gates_SD, self.get_shared_mask(path), where=f"{self.folder}: {path}")
        return gates_SD

    def _read_segment_gates(self, segment: GateSegment, path: str) -> Tensor:
        """Return a segment's gates for one module [S, D]. Each version of its file is verified
        once: the check hashes all of its gates."""
        file = get_tensors_path(self._gates_folder, segment.number)
        known = "".join(record.gates_sha256 for record in segment.records)
        try:
            return self._verified.read(
                file,
                segment.header_sha256 + known,
                lambda: check_gates(self._gates_folder, segment, self.sites),
                lambda: read_gates(self._gates_folder, segment, path),
            )
        except IntegrityError:
            # Not damaged, if another process has removed a sharer meanwhile.
            if not self._is_outdated():
                raise
            raise make_changed_error(f"{file}: a gate") from None

    def get_shared_mask(self, path: str) -> Tensor:
        """Return which sharers share their piece of one module [S] (bool)."""
        if self._shared_flags is None:
            # One flag per sharer and module: the concatenated records are the matrix [S, M].
            flags = "".join(record.shared for _, record in self._records.values())
            self._shared_flags = torch.tensor(bytearray(flags, "ascii"), dtype=torch.uint8) == ord(
                "1"
            )
        return self._shared_flags.view(-1, len(self.sites))[:, self._find_site_index(path)]

    def list_shared_modules(self, sharer: str) -> tuple[str, ...]:
        """Return the modules that a sharer shares."""
        given = self.get_record(sharer).shared
        return tuple(path for path, flag in zip(self.sites, given, strict=True) if flag == "1")

    def load_pieces(self, sharer: str, paths: Collection[str] | None = None) -> dict[str, Pair]:
        """Return A [R, D] and B [O, R] (fp32) by module: all shared modules of a sharer, or only
        ``paths``.

        Raises MissingError for an unknown sharer or a module they do not share, IntegrityError for
        a changed file.
        """
        record, shared = self.get_record(sharer), self.list_shared_modules(sharer)
        # A module outside the shared ones is an error even if the file held it.
        for path in paths or ():
            if path not in shared:
                raise MissingError(f"{self.folder}: sharer {sharer} does not share {path}")
        wanted = shared if paths is None else paths
        try:
            return self._files.read_pieces(sharer, wanted, sha256=record.pieces_sha256)
        except IntegrityError:
            # Not damaged, if another process has removed this sharer meanwhile.
            if not self._is_outdated():
                raise
            raise make_changed_error(f"{self.folder}: sharer {sharer}") from None

    def _is_outdated(self) -> bool:
        """Whether the records on disk are others than those that were read."""
        return Pool.open(self.folder)._records != self._records

    def get_adapter(self, sharer: str) -> LoraAdapter:
        """Return a sharer's pieces as an adapter, with zeros for the modules they do not share."""
        rank = self.lora.rank
        pairs = {
            module.path: (torch.zeros(rank, module.inputs), torch.zeros(module.outputs, rank))
            for module in self.modules
        }
        pairs |= self.load_pieces(sharer)
        return LoraAdapter(config=self.lora, base=self.base, pairs=pairs)

    def add_sharers(self, entries: Sequence[Contribution]) -> None:
        """Add sharers, in files of their own. After this returns they are durably in the pool.

        They get the order of their pseudonyms, which are random, and their numbers are rounded.
        Raises UsageError for an invalid pseudonym or number, MismatchError for an adapter of
        another base or kind, IntegrityError for numbers that are not finite or flat gates. If it
        raises, no sharer is added.
        """
        if not entries:
            return
        # The order of the call could be that of people's names.
        entries = sorted(entries, key=lambda entry: entry.sharer)
        # Validate all entries before the first write.
        for entry in entries:
            self.check_compatible(base=entry.adapter.base, config=entry.adapter.config)
            check_contribution(entry, self.modules, where=str(self.folder))
        names = [entry.sharer for entry in entries]
        if len(set(names)) < len(names) or self._records.keys() & set(names):
            raise UsageError(
                f"{self.folder}: a sharer is already in the pool; create another pseudonym"
            )
        # Write pieces and gates first. Without records they do not count: if this process is
        # killed here, the next writer deletes them.
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
                about=round_figures(entry.about),
            )
            for row, entry in enumerate(entries)
        )
        # Commit: writing the records makes the sharers exist.
        segment = GateSegment(number, header, records)
        write_records(self._gates_folder, self.id, segment)
        self._register_segment(segment)

    def remove_sharers(self, sharers: Collection[str]) -> None:
        """Remove sharers. After this returns nothing of them is left in the folder.

        If this process is killed, the next writer completes the removal. Raises MissingError for an
        unknown sharer; then no sharer is removed.
        """
        numbers = {self._find_sharer(sharer)[0] for sharer in sharers}
        # Drop the records first, so that the sharers no longer exist; then erase their bytes.
        for number in sorted(numbers):
            segment = self._segments[number]
            kept = tuple(r for r in segment.records if r.sharer not in sharers)
            write_records(self._gates_folder, self.id, segment._replace(records=kept))
        self._read_records()
        self._erase_unrecorded()

    def _erase_unrecorded(self) -> None:
        """Erase data without a record: of killed writers, and of sharers who withdrew.

        A segment without sharers keeps its file of records, so that its number is never reused.
        """
        # Gates: zero the rows of those who left; delete a segment without sharers.
        for path in self._gates_folder.glob("*.safetensors"):
            segment = self._segments.get(int(path.stem))
            if segment and segment.records:
                zero_rows(self._gates_folder, segment)
            else:
                path.unlink()
        # Pieces: delete the files of those who left.
        for sharer in list_sharers(self._pieces_folder):
            if sharer not in self._records:
                get_adapter_path(self._pieces_folder, sharer).unlink()

    def _find_sharer(self, sharer: str) -> tuple[int, SharerRecord]:
        if sharer not in self._records:
            raise MissingError(f"{self.folder}: no sharer {sharer} in this pool")
        return self._records[sharer]

    def _find_site_index(self, path: str) -> int:
        if path not in self.sites:
            raise MissingError(f"{self.folder}: the pool has no module {path!r}")
        return self.sites.index(path)

    def _read_records(self) -> None:
        """Read the records of every segment. Raises IntegrityError for files that do not belong to
        a pool."""
        self._refuse_foreign()
        state = read_state(self._gates_folder)
        self._records_state = state if is_settled(state) else None
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
                raise IntegrityError(f"{path}: a foreign file in a pool; remove it")
        list_sharers(self._pieces_folder)

    def _register_segment(self, segment: GateSegment) -> None:
        names = [record.sharer for record in segment.records]
        if len(set(names)) < len(names) or self._records.keys() & set(names):
            path = get_records_path(self._gates_folder, segment.number)
            raise IntegrityError(f"{path}: names a sharer twice; restore it from a copy")
        # Both are computed from all records: start again.
        self._shared_flags, self._gate_cache = None, {}
        self._segments[segment.number] = segment
        self._records |= {record.sharer: (segment.number, record) for record in segment.records}

    @property
    def _gates_folder(self) -> Path:
        return self.folder / "segments"

    @property
    def _pieces_folder(self) -> Path:
        return self.folder / "pieces"
