"""One shard of an adapter store: the stacked adapters of some people, and their records.

``NNNNNN.safetensors`` holds the adapters' tensors, each stacked over people [U, ...]; for LoRA, A
[U, R, D] and B [U, O, R] of each module. ``NNNNNN.json`` maps people to rows and has a checksum of
the tensors. The JSON file is written last: a shard without it does not exist. This module does not
access other shards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from idiolect.adapters.kinds import restore_adapter
from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.adapters.store.shard_index import Shard, get_records_path, get_tensors_path
from idiolect.adapters.store.tensor_file import serialize_tensors
from idiolect.errors import IntegrityError
from idiolect.privacy.guarantee import PrivacyGuarantee
from idiolect.storage.files import read_json, sha256_file, write_atomic, write_json

Served = Literal["adapter", "gated", "too few items", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRecord:
    """The store's record of one person; ``row`` is their row in the shard, None without an
    adapter."""

    person: str
    served: Served
    """``adapter``, or why the base serves the person instead. ``withdrawn``: the adapter was
    removed together with pieces that it was made of; predictions fail until it is trained again."""
    made_by: str
    """Fingerprint of all inputs of the adapter: settings, base, history, profile."""
    items: int = 0
    """The number of items of the history that were trained on (its first ones)."""
    history: str = ""
    """Fingerprint of those items."""
    total: int = 0
    """The number of items that the person had, also those that training did not use."""
    until: float | None = None
    """The time of the last of them, in Unix seconds."""
    steps: int = 0
    tokens: int = 0
    first_loss: float = 0.0
    last_loss: float = 0.0
    gate_base: float | None = None
    """Mean loss of the base on the held-out tail, in nats per token."""
    gate_adapter: float | None = None
    """The same with the adapter."""
    sharers: tuple[str, ...] = ()
    """Pseudonyms of the sharers whose pieces the adapter is made of."""
    quantization: str = "none"
    """How the base was quantized on which the adapter was trained."""
    row: int | None = None
    privacy: PrivacyGuarantee | None = None
    """What differential privacy promises, if the adapter was trained with it."""


def write_shard(
    folder: Path, number: int, entries: Sequence[tuple[AdapterRecord, Adapter | None]], *, base: str
) -> Shard[AdapterRecord]:
    """Write some people as one shard; after it returns, the shard is durable."""
    # People without an adapter have a record but no row.
    having = [(record, adapter) for record, adapter in entries if adapter is not None]
    rows = {record.person: row for row, (record, _) in enumerate(having)}
    parts = [adapter.tensors() for _, adapter in having]
    names = parts[0] if parts else ()
    tensors = {name: torch.stack([part[name] for part in parts]) for name in names}
    if any(not torch.isfinite(t).all() for t in tensors.values()):
        raise IntegrityError(f"{folder}: an adapter to store contains a number that is not finite")
    target = get_tensors_path(folder, number)
    write_atomic(target, serialize_tensors(tensors, base=base))
    # The records are written after the tensors, and make the shard visible.
    records = [asdict(record) | {"row": rows.get(record.person)} for record, _ in entries]
    return _write_records(folder, number, sha256_file(target), records)


def hardlink_shard(
    folder: Path, number: int, source: Path, shard: Shard[AdapterRecord]
) -> Shard[AdapterRecord]:
    """Copy a shard from another store without decoding it; hard-links the tensors if possible.

    Raises IntegrityError if its tensors are missing or do not match the checksum in its records.
    """
    # Verify before linking: a link would spread the damage.
    source_tensors = get_tensors_path(source, shard.number)
    verify_tensors(source_tensors, shard.sha256)
    target = get_tensors_path(folder, number)
    try:
        os.link(source_tensors, target)
    except OSError:  # another disk, or a file system without hard links
        write_atomic(target, source_tensors.read_bytes())
    return _write_records(folder, number, shard.sha256, [asdict(r) for r in shard.records])


def _write_records(
    folder: Path, number: int, sha256: str, records: Sequence[dict[str, Any]]
) -> Shard[AdapterRecord]:
    write_json(get_records_path(folder, number), {"sha256": sha256, "records": records})
    return Shard(number, sha256, tuple(map(_restore_record, records)))


def _restore_record(plain: Mapping[str, Any]) -> AdapterRecord:
    """Build a record from JSON data; raises TypeError for unknown entries."""
    # JSON has no tuples, and older files lack some entries.
    privacy = plain.get("privacy")
    return AdapterRecord(
        **{
            **plain,
            "sharers": tuple(plain.get("sharers", ())),
            "privacy": PrivacyGuarantee(**privacy) if privacy else None,
        }
    )


def read_shard(path: Path) -> Shard[AdapterRecord]:
    """Read a shard's records; raises IntegrityError if the file is malformed."""
    content = read_json(path)
    try:
        records = tuple(_restore_record(record) for record in content["records"])
        return Shard(int(path.stem), str(content["sha256"]), records)
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not valid records of a shard ({error})") from error


def verify_tensors(path: Path, sha256: str, *, again: str = "personalize") -> None:
    """Raise IntegrityError if a shard's tensors are missing or changed.

    ``again``: the command that makes them, for the message.
    """
    if not path.is_file() or sha256_file(path) != sha256:
        raise IntegrityError(
            f"{path}: missing or changed after it was written; restore it from a copy, or "
            f"remove it with its .json and run idiolect {again} again"
        )


def read_adapter_row(path: Path, row: int, *, config: AdapterConfig, base: str) -> Adapter:
    """Read one person's adapter from a shard's tensors; raises IntegrityError."""
    try:
        # Slices read one row, not the tensors of all people in the shard.
        with safe_open(path, framework="pt") as file:
            tensors = {
                name: file.get_slice(name)[row : row + 1][0].clone()
                for name in file.keys()  # noqa: SIM118 - not a mapping
            }
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path}: not a readable safetensors file ({error})") from error
    return restore_adapter(config, base, tensors)
