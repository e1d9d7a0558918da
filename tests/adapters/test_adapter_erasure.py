"""Erasure finds adapters by their numbers, alone and concatenated, and removes one row of a
store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect.adapters.arithmetic.concat import concat_lora
from idiolect.adapters.erasure import (
    CheckpointErasure,
    CopiedAdapterErasure,
    ExportErasure,
    StoreErasure,
)
from idiolect.adapters.formats.peft import WEIGHTS_FILE, save_peft
from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.store.signatures import byte_signatures
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.privacy.erasure import ErasureRequest
from idiolect.privacy.search.patterns import SearchPatterns
from idiolect.storage.files import sha256_file
from support.tiny_people import LORA, random_adapter, to_tensor_bytes


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def ann_adapter(base: Base) -> LoraAdapter:
    return random_adapter(base, 1)


def make_request(adapter: LoraAdapter, person: str = "ann") -> ErasureRequest:
    return ErasureRequest(
        person=person, task="rating", patterns=SearchPatterns(tensors=byte_signatures(adapter))
    )


def test_export_erasure_finds_adapter_alone_and_concatenated(
    base: Base, ann_adapter: LoraAdapter, tmp_path: Path
) -> None:
    other = random_adapter(base, 2)
    save_peft(tmp_path / "alone", ann_adapter, base_name="b")
    save_peft(tmp_path / "stacked", concat_lora(other, ann_adapter), base_name="b")
    save_peft(tmp_path / "other", other, base_name="b")
    request = make_request(ann_adapter)
    assert {p.name for p in tmp_path.iterdir() if ExportErasure().find(p, request)} == {
        "alone",
        "stacked",
    }
    for folder in sorted(tmp_path.iterdir()):
        ExportErasure().erase(folder, request)
    assert [p.name for p in tmp_path.iterdir()] == ["other"]
    # A mean holds no tensors of the person; only the ledger's hash identifies it.
    mean = replace(
        request,
        patterns=SearchPatterns(),
        files=frozenset([sha256_file(tmp_path / "other" / WEIGHTS_FILE)]),
    )
    assert ExportErasure().find(tmp_path / "other", mean)


def test_byte_signatures_leave_out_zeros_and_shared_a(base: Base, ann_adapter: LoraAdapter) -> None:
    """An untrained B and a shared A belong to all people."""
    untrained = random_adapter(base, 1, size=0.0)
    zeros = {b.contiguous().numpy().tobytes()[:256] for _, b in untrained.pairs.values()}
    assert not zeros & byte_signatures(untrained)
    shared = replace(ann_adapter, config=replace(ann_adapter.config, shared_a=True))
    firsts = {a.flatten()[:64].numpy().tobytes() for a, _ in ann_adapter.pairs.values()}
    assert firsts <= byte_signatures(ann_adapter) and not firsts & byte_signatures(shared)
    assert byte_signatures(shared) and all(
        len(trace) >= 64 for trace in byte_signatures(ann_adapter)
    )


@pytest.fixture
def store(base: Base, ann_adapter: LoraAdapter, tmp_path: Path) -> AdapterStore:
    """Ann in two shards, Bob with his own adapter, Ima with a copy of Ann's; unfinished work."""
    store = AdapterStore.create(
        tmp_path / "store", base, source="default", task="rating", config=LORA, settings={}
    )
    with store.lock_for_writing():
        for made_by, adapter in (("old", random_adapter(base, 9)), ("new", ann_adapter)):
            entries = [
                (make_record("ann", made_by), adapter),
                (make_record("bob"), random_adapter(base, 3)),
            ]
            store.add(entries[: 2 if made_by == "old" else 1])
        store.add([(make_record("ima"), ann_adapter)])
    (store.folder / "checkpoint.bin").write_bytes(b"x")
    return store


def make_record(person: str, made_by: str = "x") -> AdapterRecord:
    return AdapterRecord(person=person, served="adapter", made_by=made_by, items=3)


def test_store_erasure_removes_row_and_keeps_other_bytes(
    store: AdapterStore, ann_adapter: LoraAdapter
) -> None:
    bob, request = to_tensor_bytes(store.get_adapter("bob")), make_request(ann_adapter)
    (effect,) = CopiedAdapterErasure().erase(store.folder, request)
    assert (effect.person, effect.outcome) == ("ima", "discarded")
    assert [e.outcome for e in StoreErasure().erase(store.folder, request)] == ["removed"]
    assert [e.outcome for e in CheckpointErasure().erase(store.folder, request)] == ["deleted"]
    after = AdapterStore.open(store.folder)
    assert after.people == ("bob", "ima") and to_tensor_bytes(after.get_adapter("bob")) == bob
    # No file names the person or holds their numbers.
    raw = b"".join(p.read_bytes() for p in store.folder.rglob("*") if p.is_file())
    assert b'"ann"' not in raw and not request.patterns.contains_tensors(raw)
    # A second erasure finds nothing.
    for holder in (CopiedAdapterErasure(), StoreErasure(), CheckpointErasure()):
        assert (
            holder.find(store.folder, request) == ""
            and list(holder.erase(store.folder, request)) == []
        )


def test_store_erasure_of_records_keeps_row(store: AdapterStore, ann_adapter: LoraAdapter) -> None:
    some = replace(make_request(ann_adapter), records=frozenset(["r"]))
    assert StoreErasure().find(store.folder, some) == ""
    assert CopiedAdapterErasure().find(store.folder, some) == "copies of their adapter (ima)"
    torch.testing.assert_close(store.get_adapter("ann").pairs, ann_adapter.pairs)  # type: ignore[union-attr]
