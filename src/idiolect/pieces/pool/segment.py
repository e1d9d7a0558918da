"""One segment of a pool on disk: the gates of sharers who were added together, and who they are.

``NNNNNN.safetensors`` holds per site LN(g) of every sharer's gate [S, D] in half precision, zeros
where a sharer does not share the site; ``NNNNNN.json`` says whose each row is, with checksums, and
makes the sharers exist. Who withdraws loses their record first, then their row is zeroed in place,
so that nobody else's bytes move. Knows nothing of the pool's other segments.

Shapes: ``S`` sharers of the segment, ``D`` width of a module's input.
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
"""A gate that varies less than this, of its largest entry, is rounding noise: it says nothing."""
_NORM_TOLERANCE = 1e-2
"""How far the mean square of a stored gate may be from 1: ten times what rounding does."""

MatrixLocation = tuple[int, tuple[int, int]]
"""Where a matrix begins in a file, and its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharerRecord:
    """What a pool knows of one sharer: a pseudonym and numbers."""

    sharer: str
    row: int
    shared: str
    """For every site of the pool ``1`` where its piece is shared, else ``0``."""
    gates_sha256: str
    """Over the bytes of the row, site by site."""
    pieces_sha256: str
    """Over the file of the pieces."""
    about: Mapping[str, float] = field(default_factory=dict)
    """Numbers: steps, items, what leaks."""


class GateSegment(NamedTuple):
    """A segment's number, the SHA-256 of its tensors' header, and its records."""

    number: int
    header_sha256: str
    records: tuple[SharerRecord, ...]


def to_storage(gate: Tensor, *, where: str) -> Tensor:
    """LN(g) [D] of a gate as it is stored: no eps, since gates are small, in half precision.

    Raises IntegrityError for a gate that stayed zero, is the same everywhere, or is not finite.
    """
    wide = gate.detach().cpu().to(torch.float64)
    spread = wide.std(correction=0)
    if not torch.isfinite(spread):
        raise IntegrityError(f"{where}: the gate holds a number that is not finite; train it again")
    if spread <= _FLAT_TOLERANCE * wide.abs().max():
        raise IntegrityError(
            f"{where}: the gate is zero or flat, so it can choose nobody; train gates for more "
            "steps or at a higher rate"
        )
    return ((wide - wide.mean()) / spread).to(torch.float16)


def write_gates(folder: Path, number: int, gates: Mapping[str, Tensor]) -> str:
    """Write a segment's matrices (path to [S, D] float16); gives the SHA-256 of their header."""
    target = get_tensors_path(folder, number)
    write_atomic(target, save(dict(gates), metadata={"format": "pt"}))
    return hashlib.sha256(_read_header(target)[0]).hexdigest()


def write_records(folder: Path, pool: str, segment: GateSegment) -> None:
    """Say who is in a segment: those named are in the pool for good, all others no longer."""
    content = {
        "pool": pool,
        "header_sha256": segment.header_sha256,
        "records": [asdict(record) for record in segment.records],
    }
    write_json(get_records_path(folder, segment.number), content)


def read_segment(path: Path, *, pool: str, sites: int) -> GateSegment:
    """Read a segment's records; raises IntegrityError where they are none, or another pool's."""
    content = read_json(path)
    try:
        records = tuple(SharerRecord(**record) for record in content["records"])
        segment = GateSegment(int(path.stem), str(content["header_sha256"]), records)
        if content["pool"] != pool:
            raise IntegrityError(f"{path}: is of another pool; take it out, with its .safetensors")
        if not all(_is_complete(record, sites) for record in records):
            raise TypeError("a record is not whole")
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not the records of a segment ({error})") from error
    return segment


def _is_complete(record: SharerRecord, sites: int) -> bool:
    return (
        PSEUDONYM.fullmatch(record.sharer) is not None
        and isinstance(record.row, int)
        and re.fullmatch(f"[01]{{{sites}}}", record.shared) is not None
    )


def hash_rows(rows: Sequence[Tensor] | Sequence[NDArray[Any]]) -> str:
    """The SHA-256 over one sharer's row of every site, in the sites' order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update((row.numpy() if isinstance(row, Tensor) else row).data)
    return digest.hexdigest()


def check_gates(folder: Path, segment: GateSegment, sites: Sequence[str]) -> None:
    """Raise IntegrityError where the gates of anybody in the segment are not what was written."""
    path = get_tensors_path(folder, segment.number)
    matrices = _map_matrices(path, _read_checked_header(path, segment))
    for record in segment.records:
        try:
            own = hash_rows([matrices[site][record.row] for site in sites])
        except (KeyError, IndexError) as error:
            raise IntegrityError(f"{path}: has no row for a sharer's gates ({error})") from error
        if own != record.gates_sha256:
            raise IntegrityError(
                f"{path}: gates of sharer {record.sharer} were changed after they were written; "
                "restore the file from a copy, or withdraw that sharer"
            )


def read_gates(folder: Path, segment: GateSegment, site: str) -> Tensor:
    """LN(g) of the segment's sharers at one site, in the order of its records [S, D] (fp32)."""
    path = get_tensors_path(folder, segment.number)
    try:
        with safe_open(path, framework="pt") as file:
            matrix = file.get_tensor(site)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path}: not a readable safetensors file ({error})") from error
    rows = [record.row for record in segment.records]
    return (matrix if rows == [*range(len(matrix))] else matrix[rows]).float()


def require_normalised(matrix: Tensor, shares: Tensor, *, where: str) -> None:
    """Raise IntegrityError where a gate in use is no LN(g): its sharer withdrew meanwhile."""
    off = (matrix.square().mean(dim=1) - 1).abs() > _NORM_TOLERANCE
    if bool((off & shares).any()) or not bool(torch.isfinite(matrix).all()):
        raise IntegrityError(
            f"{where}: a gate changed while the pool was open (a sharer withdrew?); run again"
        )


def zero_rows(folder: Path, segment: GateSegment) -> None:
    """Zero every row that no record speaks of, in place, and wait until the disk has it."""
    path = get_tensors_path(folder, segment.number)
    kept = {record.row for record in segment.records}
    spots = [
        (begin + 2 * width * row, bytes(2 * width))
        for begin, (rows, width) in _read_checked_header(path, segment).values()
        for row in range(rows)
        if row not in kept
    ]
    if not spots:
        return
    with explain_os_errors("write", path), path.open("r+b") as stream:
        for at, zeros in spots:
            stream.seek(at)
            if stream.read(len(zeros)) != zeros:
                stream.seek(at)
                stream.write(zeros)
        stream.flush()
        os.fsync(stream.fileno())


def _read_checked_header(path: Path, segment: GateSegment) -> Mapping[str, MatrixLocation]:
    raw, header = _read_header(path)
    if hashlib.sha256(raw).hexdigest() != segment.header_sha256:
        raise IntegrityError(
            f"{path}: was changed after it was written; restore it from a copy or make it anew"
        )
    return header


def _read_header(path: Path) -> tuple[bytes, dict[str, MatrixLocation]]:
    """A safetensors file's first bytes; where each matrix begins in it, and its shape.

    Raises IntegrityError where it is none of ours.
    """
    try:
        with path.open("rb") as stream:
            length = stream.read(8)
            text = stream.read(min(int.from_bytes(length, "little"), 1 << 26))
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        first = len(length) + len(text)
        found = {
            name: (first + entry["data_offsets"][0], (entry["shape"][0], entry["shape"][1]))
            for name, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise IntegrityError(
            f"{path}: missing or changed after it was written ({error}); restore it from a copy"
        ) from error
    return length + text, found


def _map_matrices(path: Path, header: Mapping[str, MatrixLocation]) -> dict[str, NDArray[Any]]:
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    out: dict[str, NDArray[Any]] = {}
    for name, (begin, (rows, width)) in header.items():
        end = begin + 2 * rows * width
        if end > len(raw):
            raise IntegrityError(f"{path}: is cut off; restore it from a copy")
        out[name] = raw[begin:end].view(np.float16).reshape(rows, width)
    return out
