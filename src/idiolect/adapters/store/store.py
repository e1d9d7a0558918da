"""The store of all people's adapters in one folder.

``store.json`` names the base, task and kind of adapter that the store is for. ``shards/`` holds the
people; a later shard's entry for a person replaces an earlier one's. This module does not depend on
training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from idiolect.adapters.kinds import config_from_header
from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.adapters.store.person_store import PersonStore
from idiolect.adapters.store.shard import (
    AdapterRecord,
    hardlink_shard,
    read_adapter_row,
    read_shard,
    write_shard,
)
from idiolect.adapters.store.shard_index import get_tensors_path
from idiolect.adapters.store.signatures import tensor_bytes
from idiolect.models.base import Base
from idiolect.privacy.search.patterns import SearchPatterns
from idiolect.storage.files import write_json
from idiolect.storage.permissions import make_folder

PARTS_FOLDER = "parts"
"""Subfolder of a store for the parts of a sharded run, until they are merged."""


class AdapterStore(PersonStore[AdapterRecord]):
    """An open store. Reading needs no lock; write only inside ``lock_for_writing``."""

    HEADER_FILE = "store.json"
    DISPLAY_NAME = "adapter store"
    COMMAND = "personalize"

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        super().__init__(folder, head, read_shard)

    @staticmethod
    def create(
        folder: Path, base: Base, *, source: str, task: str, config: AdapterConfig, settings: object
    ) -> AdapterStore:
        """Create a store, or open the existing one if it was made for the same base, task and
        kind.

        New settings are saved by ``lock_for_writing``, not before. Raises UsageError if the base
        cannot have such adapters; then nothing is created.
        """
        # Before anything is created.
        config.check_model(base.model)
        config = config.resolve_for(base.model)
        return _open_or_create(
            folder,
            AdapterStore.make_header(
                base, source=source, task=task, config=config, settings=settings
            ),
        )

    @staticmethod
    def create_like(folder: Path, other: AdapterStore) -> AdapterStore:
        """Create or open a store with the header of another one; see ``create``."""
        return _open_or_create(folder, other._pending_header)

    @staticmethod
    def open(folder: Path) -> AdapterStore:
        """Open a store; raises MissingError, or IntegrityError for foreign or changed files."""
        return AdapterStore(folder, AdapterStore.read_header(folder))

    def get_adapter(self, person: str) -> Adapter | None:
        """Return a person's adapter; None if the base serves them or they are unknown."""
        return self._read_person(person, self._read_adapter)

    def provenance(self, person: str) -> Mapping[str, Any]:
        """The pool and sharers a person's adapter is made of; empty if there are none."""
        record, pool = self.get_record(person), self.settings.get("pool") or {}
        if record is None or not record.sharers:
            return {}
        return {"pool": pool.get("id", ""), "sharers": list(record.sharers)}

    def get_quantization(self, person: str) -> str:
        """How the base was quantized on which a person's adapter was trained."""
        record = self.get_record(person)
        return record.quantization if record else "none"

    def people_using(self, sharers: Collection[str]) -> tuple[str, ...]:
        """People whose adapters are made of pieces of any of these sharers, sorted."""
        self._refresh_shards()
        locations = self._shards.person_locations.items()
        return tuple(
            sorted(p for p, (_, record) in locations if set(sharers) & set(record.sharers))
        )

    def mentions_any(self, sharers: Collection[str]) -> bool:
        """Whether any shard names one of the sharers, even if a later shard has replaced the
        entry."""
        self._refresh_shards()
        records = (record for shard in self._shards.shards.values() for record in shard.records)
        return any(set(sharers) & set(record.sharers) for record in records)

    def add(self, entries: Sequence[tuple[AdapterRecord, Adapter | None]]) -> None:
        """Append people as one shard; after it returns, they are durable."""
        self._shards.register(
            write_shard(self._shards.folder, self._shards.next_number, entries, base=self.base)
        )

    def merge_from(self, other: AdapterStore) -> None:
        """Add all records of another store that this store lacks.

        Shards are linked as files, not decoded. Call it inside ``lock_for_writing``; after a kill,
        call it again.
        """
        for shard in other._shards.shards.values():
            # Skip shards that an earlier, killed merge has already added.
            if not all(self.contains_record(record) for record in shard.records):
                self._shards.register(
                    hardlink_shard(
                        self._shards.folder, self._shards.next_number, other._shards.folder, shard
                    )
                )

    def find_missing_records(self, other: AdapterStore) -> tuple[AdapterRecord, ...]:
        """Return the records of another store that this store lacks."""
        records = (record for shard in other._shards.shards.values() for record in shard.records)
        return tuple(record for record in records if not self.contains_record(record))

    def contains_record(self, record: AdapterRecord) -> bool:
        """Whether the store has this record for the person, ignoring the row number."""
        own = self.get_record(record.person)
        return own is not None and replace(own, row=record.row) == record

    def people_matching(self, needles: SearchPatterns) -> tuple[str, ...]:
        """People whose adapters contain one of these byte signatures, sorted."""
        self._refresh_shards()
        out: list[str] = []
        for number in self._shards.shards:
            # Search the whole file first; decode its adapters only after a hit.
            path = get_tensors_path(self._shards.folder, number)
            if not needles.tensors or not needles.contains_tensors(path.read_bytes()):
                continue
            for person, (at, record) in self._shards.person_locations.items():
                adapter = self._read_adapter(number, record) if at == number else None
                # Several people share the file, so decode to find whose adapter matches.
                raw = b"".join(tensor_bytes(adapter)) if adapter else b""
                out += [person] if needles.contains_tensors(raw) else []
        return tuple(sorted(out))

    def compact(self, without: Collection[str] = ()) -> None:
        """Remove the rows of replaced records and of the people in ``without``, so that no
        outdated data stays on disk."""
        for number, live in self._shards.stale_shards(without):
            # Write the kept rows to a new shard before the old one goes, so that a kill loses none.
            if live:
                self.add([(r, self._read_adapter(number, r)) for r in live])
            self._shards.remove_shard(number)

    def _read_adapter(self, number: int, record: AdapterRecord) -> Adapter | None:
        if record.row is None:
            return None
        row = record.row
        return self._read_verified(
            number,
            lambda path: read_adapter_row(path, row, config=self.adapter_config, base=self.base),
        )


def _open_or_create(folder: Path, head: Mapping[str, Any]) -> AdapterStore:
    """Open the store in a folder and check its header, or create a store with this header."""
    if (folder / AdapterStore.HEADER_FILE).exists():
        store = AdapterStore.open(folder)
        # The existing store must be for the same base, task and kind; settings may change.
        config = config_from_header(head, where=str(folder))
        store.check_compatible(base=head["base"], task=head["task"], config=config)
        store.adapter_config, store.settings = config, head["settings"]
        # Only the settings change; the next writer saves them.
        new = {config.kind: head[config.kind], "settings": head["settings"]}
        store._pending_header = {**store._header, **new}
        return store
    shards = folder / "shards"  # may be left empty by a killed creation
    AdapterStore.check_folder_free(folder, known=(PARTS_FOLDER,), empty=shards.name)
    make_folder(shards)
    write_json(folder / AdapterStore.HEADER_FILE, head)
    return AdapterStore.open(folder)


def load_adapters(store: AdapterStore, people: Iterable[str]) -> dict[str, Adapter]:
    """Return the adapters of those of these people who have one."""
    found = ((person, store.get_adapter(person)) for person in people)
    return {person: adapter for person, adapter in found if adapter is not None}
