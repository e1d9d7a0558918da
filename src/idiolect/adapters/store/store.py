"""Everyone's adapters in one folder: shards, and what they were all made for.

``store.json`` says for which base, task and kind of adapter; people stand in ``shards/``, and a
later shard's word on a person replaces an earlier one's. Knows nothing of training.
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
from idiolect.privacy.patterns import SearchPatterns
from idiolect.storage.files import write_json

PARTS_FOLDER = "parts"
"""Folder, in a store, of the parts of a sharded run that wait to be merged into it."""


class AdapterStore(PersonStore[AdapterRecord]):
    """An open store; reading needs no lock, writing happens inside ``writing``."""

    HEADER_FILE = "store.json"
    DISPLAY_NAME = "adapter store"
    COMMAND = "personalize"

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        super().__init__(folder, head, read_shard)

    @staticmethod
    def create(
        folder: Path, base: Base, *, source: str, task: str, config: AdapterConfig, settings: object
    ) -> AdapterStore:
        """Make a store, or open the one there if it was made for the same things.

        Other settings than the ones there are written by ``writing``, not before. Raises
        UsageError for adapters that the base has no place for; nothing is made then.
        """
        config.check_model(base.model)
        return _open_or_create(
            folder,
            AdapterStore.make_header(
                base, source=source, task=task, config=config, settings=settings
            ),
        )

    @staticmethod
    def create_like(folder: Path, other: AdapterStore) -> AdapterStore:
        """Make a store for the same things as another one, or open the one there, as ``create``."""
        return _open_or_create(folder, other._pending_header)

    @staticmethod
    def open(folder: Path) -> AdapterStore:
        """Open a store; raises MissingError, or IntegrityError for foreign or changed files."""
        return AdapterStore(folder, AdapterStore.read_header(folder))

    def get_adapter(self, person: str) -> Adapter | None:
        """A person's adapter; ``None`` where the base serves them or they are a stranger."""
        found = self._locate(person)
        return self._read_adapter(*found) if found else None

    def provenance(self, person: str) -> Mapping[str, Any]:
        """Whose pieces a person's adapter is made of, if it is, and of which pool."""
        record, pool = self.get_record(person), self.settings.get("pool") or {}
        if record is None or not record.sharers:
            return {}
        return {"pool": pool.get("id", ""), "sharers": list(record.sharers)}

    def people_using(self, sharers: Collection[str]) -> tuple[str, ...]:
        """Whose adapters are made of pieces of any of these sharers, sorted."""
        where = self._shards.person_locations.items()
        return tuple(sorted(p for p, (_, record) in where if set(sharers) & set(record.sharers)))

    def mentions_any(self, sharers: Collection[str]) -> bool:
        """Whether any shard names one of the sharers, though a later one may have replaced that."""
        records = (record for shard in self._shards.shards.values() for record in shard.records)
        return any(set(sharers) & set(record.sharers) for record in records)

    def add(self, entries: Sequence[tuple[AdapterRecord, Adapter | None]]) -> None:
        """Append people as one shard: after it returns they are in the store for good."""
        self._shards.register(
            write_shard(self._shards.folder, self._shards.next_number, entries, base=self.base)
        )

    def merge_from(self, other: AdapterStore) -> None:
        """Take over what another store knows and this one does not.

        Shards are taken as they are, so that nothing is decoded or written anew; call it inside
        ``writing``, and again after a kill.
        """
        for shard in other._shards.shards.values():
            if not all(self.contains_record(record) for record in shard.records):
                self._shards.register(
                    hardlink_shard(
                        self._shards.folder, self._shards.next_number, other._shards.folder, shard
                    )
                )

    def find_missing_records(self, other: AdapterStore) -> tuple[AdapterRecord, ...]:
        """What another store says and this one does not."""
        said = (record for shard in other._shards.shards.values() for record in shard.records)
        return tuple(record for record in said if not self.contains_record(record))

    def contains_record(self, record: AdapterRecord) -> bool:
        """Whether the store says just that of a person, wherever their adapter stands."""
        own = self.get_record(record.person)
        return own is not None and replace(own, row=record.row) == record

    def people_matching(self, needles: SearchPatterns) -> tuple[str, ...]:
        """Whose adapters hold some of these numbers, sorted."""
        out: list[str] = []
        for number in self._shards.shards:
            path = get_tensors_path(self._shards.folder, number)
            if not needles.tensors or not needles.contains_tensors(path.read_bytes()):
                continue
            for person, (at, record) in self._shards.person_locations.items():
                adapter = self._read_adapter(number, record) if at == number else None
                raw = b"".join(tensor_bytes(adapter)) if adapter else b""
                out += [person] if needles.contains_tensors(raw) else []
        return tuple(sorted(out))

    def compact(self, without: Collection[str] = ()) -> None:
        """Drop the rows of people whom a later shard replaced, and of people who are not to stay:
        nothing outdated stays on disk."""
        for number, live in self._shards.stale_shards(without):
            if live:
                self.add([(r, self._read_adapter(number, r)) for r in live])
            self._shards.remove_shard(number)

    def _read_adapter(self, number: int, record: AdapterRecord) -> Adapter | None:
        if record.row is None:
            return None
        return read_adapter_row(
            self._verified_file(number), record.row, config=self.adapter_config, base=self.base
        )


def _open_or_create(folder: Path, head: Mapping[str, Any]) -> AdapterStore:
    """The store in a folder, which is to have that head; a new one where there is none."""
    if (folder / AdapterStore.HEADER_FILE).exists():
        store = AdapterStore.open(folder)
        config = config_from_header(head, where=str(folder))
        store.check_compatible(base=head["base"], task=head["task"], config=config)
        store.adapter_config, store.settings = config, head["settings"]
        new = {config.kind: head[config.kind], "settings": head["settings"]}
        store._pending_header = {**store._header, **new}
        return store
    shards = folder / "shards"  # an empty one is what a killed creation leaves
    AdapterStore.check_folder_free(folder, known=(PARTS_FOLDER,), empty=shards.name)
    shards.mkdir(parents=True, exist_ok=True)
    write_json(folder / AdapterStore.HEADER_FILE, head)
    return AdapterStore.open(folder)


def load_adapters(store: AdapterStore, people: Iterable[str]) -> dict[str, Adapter]:
    """The adapters of those of the people who have one."""
    found = ((person, store.get_adapter(person)) for person in people)
    return {person: adapter for person, adapter in found if adapter is not None}
