"""One segment of a pool on disk: the gates of sharers who were added together, and their records.

``NNNNNN.safetensors`` holds per module LN(g) of every sharer's gate [S, D] in half precision, with
zeros if a sharer does not share the module. ``NNNNNN.json`` names the sharer of each row, holds the
checksums, and makes the sharers exist. A withdrawal first removes the sharer's record, then zeros
their row in place, so that no other byte moves. This module does not access the pool's other
segments.

Shapes: ``S`` sharers of the segment, ``D`` input width of a module.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from idiolect.adapters.store.shard_index import get_records_path, get_tensors_path
from idiolect.errors import IntegrityError
from idiolect.storage.files import explain_os_errors, read_json, write_atomic, write_json

PSEUDONYM = re.compile(r"[0-9a-f]{16}", re.ASCII)
_FLAT_TOLERANCE = 1e-6
"""A gate whose spread is below this fraction of its largest entry is rounding noise."""
_NORM_TOLERANCE = 1e-2
"""Allowed deviation of a stored gate's mean square from 1: ten times the rounding error."""

MatrixLocation = tuple[int, tuple[int, int]]
"""A matrix's byte offset in a file, and its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharerRecord:
    """A pool's record of one sharer: a pseudonym, checksums and numbers."""

    sharer: str
    row: int
    shared: str
    """One character per module of the pool: ``1`` if its piece is shared, else ``0``."""
    gates_sha256: str
    """SHA-256 over the bytes of the sharer's row, module by module."""
    pieces_sha256: str
    """SHA-256 of the sharer's file of pieces."""
    about: Mapping[str, float] = field(default_factory=dict)
    """Numbers, rounded: steps, items, leakage."""


class GateSegment(NamedTuple):
    """A segment's number, the SHA-256 of its safetensors header, and its records."""

    number: int
    header_sha256: str
    records: tuple[SharerRecord, ...]


def to_storage(gate: Tensor, *, where: str) -> Tensor:
    """Return LN(g) [D] of a gate in half precision, without eps because gates are small.

    Raises IntegrityError if a gate is zero, constant, or not finite.
    """
    wide = gate.detach().cpu().to(torch.float64)
    # The population standard deviation, as in layer normalization.
    spread = wide.std(correction=0)
    if not torch.isfinite(spread):
        raise IntegrityError(f"{where}: the gate holds a value that is not finite; train it again")
    if spread <= _FLAT_TOLERANCE * wide.abs().max():
        raise IntegrityError(
            f"{where}: the gate is zero or constant, so it cannot rank pieces; train gates for "
            "more steps or at a higher rate"
        )
    return ((wide - wide.mean()) / spread).to(torch.float16)


def write_gates(folder: Path, number: int, gates: Mapping[str, Tensor]) -> str:
    """Write a segment's matrices (module to [S, D] float16) and return the SHA-256 of their
    header."""
    target = get_tensors_path(folder, number)
    write_atomic(target, save(dict(gates), metadata={"format": "pt"}))
    return hashlib.sha256(_read_header(target)[0]).hexdigest()


def write_records(folder: Path, pool: str, segment: GateSegment) -> None:
    """Write a segment's records. Sharers with a record are in the pool; all others are not."""
    content = {
        "pool": pool,
        "header_sha256": segment.header_sha256,
        "records": [asdict(record) for record in segment.records],
    }
    write_json(get_records_path(folder, segment.number), content)


def read_segment(path: Path, *, pool: str, sites: int) -> GateSegment:
    """Read a segment's records.

    Raises IntegrityError if the file is not a valid segment or belongs to another pool.
    """
    content = read_json(path)
    try:
        records = tuple(SharerRecord(**record) for record in content["records"])
        segment = GateSegment(int(path.stem), str(content["header_sha256"]), records)
        if content["pool"] != pool:
            raise IntegrityError(
                f"{path}: belongs to another pool; remove it together with its .safetensors file"
            )
        if not all(_is_complete(record, sites) for record in records):
            raise TypeError("a record is incomplete")
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not a file of segment records ({error})") from error
    return segment


def _is_complete(record: SharerRecord, sites: int) -> bool:
    return (
        PSEUDONYM.fullmatch(record.sharer) is not None
        and isinstance(record.row, int)
        and re.fullmatch(f"[01]{{{sites}}}", record.shared) is not None
    )


def hash_rows(rows: Sequence[Tensor] | Sequence[NDArray[Any]]) -> str:
    """Return the SHA-256 over one sharer's rows, in the order of the modules."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update((row.numpy() if isinstance(row, Tensor) else row).data)
    return digest.hexdigest()


def check_gates(folder: Path, segment: GateSegment, sites: Sequence[str]) -> None:
    """Raise IntegrityError if the gates of any sharer in the segment differ from what was
    written."""
    path = get_tensors_path(folder, segment.number)
    matrices = _map_matrices(path, _read_checked_header(path, segment))
    for record in segment.records:
        try:
            # Same rows, same order as in ``Pool.add_sharers``.
            own = hash_rows([matrices[site][record.row] for site in sites])
        except (KeyError, IndexError) as error:
            raise IntegrityError(f"{path}: no row for a sharer's gates ({error})") from error
        if own != record.gates_sha256:
            raise IntegrityError(
                f"{path}: the gates of sharer {record.sharer} changed after they were written; "
                "restore the file from a copy, or withdraw that sharer"
            )


def read_gates(folder: Path, segment: GateSegment, site: str) -> Tensor:
    """Return LN(g) of the segment's sharers for one module [S, D] (fp32), in the order of its
    records."""
    path = get_tensors_path(folder, segment.number)
    try:
        with safe_open(path, framework="pt") as file:
            matrix = file.get_tensor(site)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path}: not a readable safetensors file ({error})") from error
    # After a withdrawal the records skip rows; select those that are left.
    rows = [record.row for record in segment.records]
    return (matrix if rows == [*range(len(matrix))] else matrix[rows]).float()


def require_normalized(gates_SD: Tensor, shares_S: Tensor, *, where: str) -> None:
    """Raise IntegrityError if a shared gate is not an LN(g), as after a concurrent withdrawal."""
    # The mean square of LN(g) is 1; a zeroed row has 0.
    off_S = (gates_SD.square().mean(dim=1) - 1).abs() > _NORM_TOLERANCE
    if bool((off_S & shares_S).any()) or not bool(torch.isfinite(gates_SD).all()):
        raise make_changed_error(f"{where}: a gate")


def make_changed_error(what: str) -> IntegrityError:
    """Return the error for what a withdrawal in another process has changed."""
    return IntegrityError(f"{what} changed while the pool was open (a sharer withdrew?); run again")


def zero_rows(folder: Path, segment: GateSegment) -> None:
    """Zero every row without a record, in place, and wait until the disk has it (fsync)."""
    path = get_tensors_path(folder, segment.number)
    kept = {record.row for record in segment.records}
    # Byte ranges in the file: 2 bytes per fp16 entry.
    ranges = [
        (begin + 2 * width * row, bytes(2 * width))
        for begin, (rows, width) in _read_checked_header(path, segment).values()
        for row in range(rows)
        if row not in kept
    ]
    if not ranges:
        return
    # Rows that are already zero are not written again, so repeated calls leave the file
    # untouched.
    with explain_os_errors("write", path), path.open("r+b") as stream:
        for offset, zeros in ranges:
            stream.seek(offset)
            if stream.read(len(zeros)) != zeros:
                stream.seek(offset)
                stream.write(zeros)
        stream.flush()
        os.fsync(stream.fileno())


def _read_checked_header(path: Path, segment: GateSegment) -> Mapping[str, MatrixLocation]:
    raw, header = _read_header(path)
    if hashlib.sha256(raw).hexdigest() != segment.header_sha256:
        raise IntegrityError(
            f"{path}: changed after it was written; restore it from a copy or create it again"
        )
    return header


def _read_header(path: Path) -> tuple[bytes, dict[str, MatrixLocation]]:
    """Return the raw header bytes of a safetensors file, and each matrix's location by name.

    Raises IntegrityError if the file is missing or not in the expected format.
    """
    try:
        with path.open("rb") as stream:
            # safetensors: 8 bytes with the length of the JSON header, the header, then the data.
            # The cap keeps a damaged length from reading a whole file.
            length = stream.read(8)
            text = stream.read(min(int.from_bytes(length, "little"), 1 << 26))
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        first = len(length) + len(text)
        found = {
            name: (first + entry["data_offsets"][0], (entry["shape"][0], entry["shape"][1]))
            for name, entry in entries.items()
        }
        for begin, (rows, width) in found.values():
            if min(begin, rows, width) < 0:
                raise ValueError("a size below 0")
    except (
        *(OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError),
    ) as error:
        raise IntegrityError(
            f"{path}: missing or changed after it was written ({error}); restore it from a copy"
        ) from error
    return length + text, found


def _map_matrices(path: Path, header: Mapping[str, MatrixLocation]) -> dict[str, NDArray[Any]]:
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    out: dict[str, NDArray[Any]] = {}
    for name, (begin, (rows, width)) in header.items():
        # fp16 entries take 2 bytes.
        end = begin + 2 * rows * width
        if end > len(raw):
            raise IntegrityError(f"{path}: the file is truncated; restore it from a copy")
        out[name] = raw[begin:end].view(np.float16).reshape(rows, width)
    return out
