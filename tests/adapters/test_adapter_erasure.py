"""An adapter is found by its numbers, alone and stacked on another; a store is rid of one row."""

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
from idiolect.privacy.patterns import SearchPatterns
from idiolect.storage.files import sha256_file
from support.tiny_people import LORA, random_adapter, to_tensor_bytes


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def hers(base: Base) -> LoraAdapter:
    return random_adapter(base, 1)


def leaving(adapter: LoraAdapter, person: str = "ann") -> ErasureRequest:
    return ErasureRequest(
        person=person, task="rating", patterns=SearchPatterns(tensors=byte_signatures(adapter))
    )


def test_an_export_is_found_alone_and_stacked(
    base: Base, hers: LoraAdapter, tmp_path: Path
) -> None:
    other = random_adapter(base, 2)
    save_peft(tmp_path / "alone", hers, base_name="b")
    save_peft(tmp_path / "stacked", concat_lora(other, hers), base_name="b")
    save_peft(tmp_path / "other", other, base_name="b")
    who = leaving(hers)
    assert {p.name for p in tmp_path.iterdir() if ExportErasure().find(p, who)} == {
        "alone",
        "stacked",
    }
    for folder in sorted(tmp_path.iterdir()):
        ExportErasure().erase(folder, who)
    assert [p.name for p in tmp_path.iterdir()] == ["other"]
    mean = replace(
        who,
        patterns=SearchPatterns(),
        files=frozenset([sha256_file(tmp_path / "other" / WEIGHTS_FILE)]),
    )
    assert ExportErasure().find(tmp_path / "other", mean)


def test_what_says_nothing_is_no_trace(base: Base, hers: LoraAdapter) -> None:
    """An untrained B is everybody's, and so is an A that all share."""
    still = random_adapter(base, 1, size=0.0)
    zeros = {b.contiguous().numpy().tobytes()[:256] for _, b in still.pairs.values()}
    assert not zeros & byte_signatures(still)
    shared = replace(hers, config=replace(hers.config, shared_a=True))
    firsts = {a.flatten()[:64].numpy().tobytes() for a, _ in hers.pairs.values()}
    assert firsts <= byte_signatures(hers) and not firsts & byte_signatures(shared)
    assert byte_signatures(shared) and all(len(trace) >= 64 for trace in byte_signatures(hers))


@pytest.fixture
def store(base: Base, hers: LoraAdapter, tmp_path: Path) -> AdapterStore:
    """Ann in two shards, Bob with his own, Ima with a copy of hers; work in progress."""
    store = AdapterStore.create(
        tmp_path / "store", base, source="default", task="rating", config=LORA, settings={}
    )
    with store.lock_for_writing():
        for made_by, adapter in (("old", random_adapter(base, 9)), ("new", hers)):
            entries = [(record("ann", made_by), adapter), (record("bob"), random_adapter(base, 3))]
            store.add(entries[: 2 if made_by == "old" else 1])
        store.add([(record("ima"), hers)])
    (store.folder / "checkpoint.bin").write_bytes(b"x")
    return store


def record(person: str, made_by: str = "x") -> AdapterRecord:
    return AdapterRecord(person=person, served="adapter", made_by=made_by, items=3)


def test_a_row_goes_and_everybody_elses_bytes_stay(store: AdapterStore, hers: LoraAdapter) -> None:
    bob, who = to_tensor_bytes(store.get_adapter("bob")), leaving(hers)
    (effect,) = CopiedAdapterErasure().erase(store.folder, who)
    assert (effect.person, effect.outcome) == ("ima", "discarded")
    assert [e.outcome for e in StoreErasure().erase(store.folder, who)] == ["removed"]
    assert [e.outcome for e in CheckpointErasure().erase(store.folder, who)] == ["deleted"]
    after = AdapterStore.open(store.folder)
    assert after.people == ("bob", "ima") and to_tensor_bytes(after.get_adapter("bob")) == bob
    raw = b"".join(p.read_bytes() for p in store.folder.rglob("*") if p.is_file())
    assert b'"ann"' not in raw and not who.patterns.contains_tensors(raw)
    for holder in (CopiedAdapterErasure(), StoreErasure(), CheckpointErasure()):
        assert holder.find(store.folder, who) == "" and list(holder.erase(store.folder, who)) == []


def test_of_one_whose_records_go_the_row_stays(store: AdapterStore, hers: LoraAdapter) -> None:
    some = replace(leaving(hers), records=frozenset(["r"]))
    assert StoreErasure().find(store.folder, some) == ""
    assert CopiedAdapterErasure().find(store.folder, some) == "copies of their adapter (ima)"
    torch.testing.assert_close(store.get_adapter("ann").pairs, hers.pairs)  # type: ignore[union-attr]
