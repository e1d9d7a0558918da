"""The adapter store: round trips, concurrent writers, killed writers, and damage."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.store import store as store_module
from idiolect.adapters.store.store import AdapterRecord, AdapterStore, load_adapters
from idiolect.errors import BusyError, IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.storage import verified
from idiolect.storage.files import write_json
from support.changed_files import change_in_place
from support.store_writer import hold_and_write
from support.tiny_people import LORA, random_adapter, to_tensor_bytes

SETTINGS = {"train": {"rate": 0.5}}


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def adapters(base: Base) -> list[LoraAdapter]:
    return [random_adapter(base, seed) for seed in range(4)]


def create_store(folder: Path, base: Base) -> AdapterStore:
    return AdapterStore.create(
        folder, base, source="default", task="rating", config=LORA, settings=SETTINGS
    )


def make_record(person: str, made_by: str = "x") -> AdapterRecord:
    return AdapterRecord(person=person, served="adapter", made_by=made_by, items=3, history="h")


@pytest.fixture
def store(base: Base, adapters: list[LoraAdapter], tmp_path: Path) -> AdapterStore:
    """Ann and Bob in the first shard; a newer Ann, and Cy without an adapter, in the second."""
    store = create_store(tmp_path / "store", base)
    with store.lock_for_writing():
        store.add([(make_record("ann"), adapters[0]), (make_record("bob"), adapters[1])])
        few = AdapterRecord(person="cy", served="too few items", made_by="x")
        store.add([(make_record("ann", "later"), adapters[2]), (few, None)])
    return store


def list_shards(store: AdapterStore) -> list[str]:
    return sorted(path.name for path in (store.folder / "shards").iterdir())


@pytest.mark.parametrize("change", [{"top_layers": 3}, {"targets": ("q_prj",)}])
def test_create_rejects_adapters_that_base_cannot_have(
    base: Base, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"lora\."):
        AdapterStore.create(
            tmp_path / "s",
            base,
            source="tiny",
            task="t",
            config=replace(LORA, **change),
            settings={},
        )
    assert not (tmp_path / "s").exists()


def test_get_adapter_returns_same_bytes(store: AdapterStore, adapters: list[LoraAdapter]) -> None:
    """A later shard's adapter replaces an earlier one."""
    for found in (store, AdapterStore.open(store.folder)):
        assert found.people == ("ann", "bob", "cy")
        assert to_tensor_bytes(found.get_adapter("ann")) == to_tensor_bytes(adapters[2])
        assert to_tensor_bytes(found.get_adapter("bob")) == to_tensor_bytes(adapters[1])
        assert found.get_adapter("cy") is None and found.get_adapter("stranger") is None
        assert found.get_record("ann") == replace(make_record("ann", "later"), row=0)
        assert found.get_record("stranger") is None
        assert [*load_adapters(found, ["cy", "bob", "stranger"])] == ["bob"]


def test_get_adapter_fits_only_its_base(store: AdapterStore, base: Base) -> None:
    adapter = store.get_adapter("bob")
    assert adapter is not None and adapter.check_matches_base(base, LORA) is adapter
    with pytest.raises(MismatchError, match="was made for base"):
        adapter.check_matches_base(make_tiny_base(1))


def test_compact_removes_replaced_adapters(
    store: AdapterStore, adapters: list[LoraAdapter]
) -> None:
    with store.lock_for_writing():
        store.compact()
    for found in (store, AdapterStore.open(store.folder)):
        assert to_tensor_bytes(found.get_adapter("ann")) == to_tensor_bytes(adapters[2])
        assert to_tensor_bytes(found.get_adapter("bob")) == to_tensor_bytes(adapters[1])
        assert found.people == ("ann", "bob", "cy")
    on_disk = b"".join(p.read_bytes() for p in (store.folder / "shards").iterdir())
    # The replaced adapter's numbers are no longer on disk.
    outdated = adapters[0].pairs["model.layers.0.self_attn.q_proj"][1].numpy().tobytes()
    assert outdated not in on_disk
    before = list_shards(store)
    with store.lock_for_writing():
        store.compact()
    assert list_shards(store) == before


people = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True)


@settings(max_examples=20)
@given(added=st.lists(people, min_size=1, max_size=5), compact_after=st.integers(0, 5))
def test_add_keeps_latest_adapter_of_each_person(
    base: Base,
    adapters: list[LoraAdapter],
    tmp_path_factory: pytest.TempPathFactory,
    added: Sequence[Sequence[str]],
    compact_after: int,
) -> None:
    # Add groups of people, compact at some point, and compare with a dict.
    store = create_store(tmp_path_factory.mktemp("s") / "store", base)
    expected: dict[str, LoraAdapter | None] = {}
    with store.lock_for_writing():
        for number, group in enumerate(added):
            entries = [
                (make_record(person, f"{number}"), adapters[number % 4] if person < "d" else None)
                for person in group
            ]
            store.add(entries)
            expected |= {r.person: adapter for r, adapter in entries}
            if number == compact_after:
                store.compact()
        store.compact()
    found = AdapterStore.open(store.folder)
    assert found.people == tuple(sorted(expected))
    for person, adapter in expected.items():
        kept = found.get_adapter(person)
        assert (kept is None) == (adapter is None)
        assert adapter is None or to_tensor_bytes(kept) == to_tensor_bytes(adapter)


@pytest.mark.parametrize("name", ["000001.safetensors", "000001.json", "store.json"])
def test_open_and_get_adapter_detect_changed_byte(store: AdapterStore, name: str) -> None:
    path = next(store.folder.rglob(name))
    # At the start, in the middle and near the end.
    for place in (0, len(path.read_bytes()) // 2, -2):
        raw = bytearray(path.read_bytes())
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(IntegrityError, match=path.name):
            AdapterStore.open(store.folder).get_adapter("bob")
        raw[place] ^= 1
        path.write_bytes(raw)
    assert AdapterStore.open(store.folder).get_adapter("bob") is not None


def test_get_adapter_detects_missing_or_truncated_shard(store: AdapterStore) -> None:
    path = store.folder / "shards" / "000001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"000001\.safetensors"):
        AdapterStore.open(store.folder).get_adapter("bob")
    path.unlink()
    with pytest.raises(IntegrityError, match=r"000001\.safetensors"):
        AdapterStore.open(store.folder).get_adapter("bob")
    assert AdapterStore.open(store.folder).get_adapter("ann") is not None


@pytest.mark.finding("changed-store")
@pytest.mark.parametrize("keeps_at_once", [True, False])
def test_open_store_serves_no_tensors_changed_after_first_look(
    store: AdapterStore, monkeypatch: pytest.MonkeyPatch, keeps_at_once: bool
) -> None:
    if keeps_at_once:
        monkeypatch.setattr(verified, "_SETTLED_NANOSECONDS", 0)
    opened = AdapterStore.open(store.folder)
    assert opened.get_adapter("bob") is not None
    path = store.folder / "shards" / "000001.safetensors"
    change_in_place(path)
    with pytest.raises(IntegrityError, match=r"000001\.safetensors: missing or changed"):
        opened.get_adapter("bob")
    change_in_place(path)
    assert opened.get_adapter("bob") is not None


@pytest.mark.finding("changed-store")
@pytest.mark.parametrize("keeps_at_once", [True, False])
def test_open_store_does_not_know_people_whom_another_process_forgot(
    store: AdapterStore,
    adapters: list[LoraAdapter],
    monkeypatch: pytest.MonkeyPatch,
    keeps_at_once: bool,
) -> None:
    """Also if the number of the removed shard is used again, for another person."""
    if keeps_at_once:
        monkeypatch.setattr(verified, "_SETTLED_NANOSECONDS", 0)
    opened = AdapterStore.open(store.folder)
    assert opened.get_adapter("ann") is not None
    other = AdapterStore.open(store.folder)
    with other.lock_for_writing():
        other.compact(["ann", "cy"])
    for person in ("ann", "cy"):
        assert (opened.get_record(person), opened.get_adapter(person)) == (None, None)
        assert not opened.mentions_person(person)
    assert opened.people == ("bob",) and opened.get_adapter("bob") is not None
    with other.lock_for_writing():
        other.compact(["bob"])
        other.add([(make_record("dan"), adapters[3])])
    assert "000001.safetensors" in list_shards(store)
    assert opened.get_adapter("bob") is None
    assert to_tensor_bytes(opened.get_adapter("dan")) == to_tensor_bytes(adapters[3])


@pytest.mark.finding("changed-store")
def test_get_adapter_reads_new_shard_if_another_process_replaces_it_meanwhile(
    store: AdapterStore, adapters: list[LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = AdapterStore.open(store.folder)
    other = AdapterStore.open(store.folder)
    read_row = store_module.read_adapter_row

    def compact_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(store_module, "read_adapter_row", read_row)
        with other.lock_for_writing():
            other.compact(["ann"])
        return read_row(*arguments, **options)

    monkeypatch.setattr(store_module, "read_adapter_row", compact_first)
    assert to_tensor_bytes(opened.get_adapter("bob")) == to_tensor_bytes(adapters[1])
    assert opened.get_record("ann") is None


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors", "x.json", "1.json"])
def test_open_rejects_foreign_file(store: AdapterStore, name: str) -> None:
    (store.folder / "shards" / name).write_text("{}")
    with pytest.raises(IntegrityError, match="foreign file"):
        AdapterStore.open(store.folder)


@pytest.mark.parametrize("content", [{}, {"sha256": "", "records": [{"person": "a", "age": 3}]}])
def test_open_rejects_malformed_records(store: AdapterStore, content: object) -> None:
    write_json(store.folder / "shards" / "000003.json", content)
    with pytest.raises(IntegrityError, match="not valid records of a shard"):
        AdapterStore.open(store.folder)


def test_create_rejects_other_base_task_or_kind(store: AdapterStore, base: Base) -> None:
    options = {"source": "x", "settings": SETTINGS}
    with pytest.raises(MismatchError, match="made for base tiny-0"):
        AdapterStore.create(store.folder, make_tiny_base(1), task="rating", config=LORA, **options)
    with pytest.raises(MismatchError, match="task 'rating', but the data is for task 'reply'"):
        AdapterStore.create(store.folder, base, task="reply", config=LORA, **options)
    for other in (
        replace(LORA, rank=4),
        replace(LORA, alpha=1.0),
        replace(LORA, targets=("o_proj",)),
    ):
        with pytest.raises(MismatchError, match="use another adapter store"):
            AdapterStore.create(store.folder, base, task="rating", config=other, **options)
    store.check_compatible(base=base.identity, task="rating", config=LORA)


def test_lock_for_writing_saves_new_settings(store: AdapterStore, base: Base) -> None:
    lora, new = replace(LORA, dropout=0.5), {"train": {"rate": 9}}
    again = AdapterStore.create(
        store.folder, base, source="x", task="rating", config=lora, settings=new
    )
    # Not saved before the lock is taken.
    assert AdapterStore.open(store.folder).settings == SETTINGS
    with again.lock_for_writing():
        pass
    found = AdapterStore.open(store.folder)
    assert (found.settings, found.adapter_config, found.base_source) == (new, lora, "default")
    assert found.people == store.people


def test_open_and_create_reject_folders_without_store(base: Base, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no adapter store there"):
        AdapterStore.open(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files, but no adapter store"):
        create_store(tmp_path, base)
    (tmp_path / "s" / "shards").mkdir(parents=True)  # a killed creation leaves this
    assert create_store(tmp_path / "s", base).people == ()


def test_add_rejects_non_finite_numbers(store: AdapterStore, adapters: list[LoraAdapter]) -> None:
    path, (a, b) = next(iter(adapters[0].pairs.items()))
    for bad in (float("nan"), float("inf")):
        broken = replace(
            adapters[0], pairs={**adapters[0].pairs, path: (a, torch.full_like(b, bad))}
        )
        before = list_shards(store)
        with store.lock_for_writing(), pytest.raises(IntegrityError, match="not finite"):
            store.add([(make_record("dee"), broken)])
        assert list_shards(store) == before


def test_lock_for_writing_removes_leftovers_of_killed_writer(
    store: AdapterStore, adapters: list[LoraAdapter]
) -> None:
    orphan = store.folder / "shards" / "000003.safetensors"
    orphan.write_bytes(b"half an adapter")
    (store.folder / "shards" / ".000003.json.99999999-0000000000000f.partial").write_text("{")
    found = AdapterStore.open(store.folder)
    assert found.people == store.people
    with found.lock_for_writing():
        assert not orphan.exists()
        found.add([(make_record("dee"), adapters[3])])
    assert to_tensor_bytes(AdapterStore.open(store.folder).get_adapter("dee")) == to_tensor_bytes(
        adapters[3]
    )


def test_compact_loses_nothing_if_killed(
    store: AdapterStore, adapters: list[LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the old shard is removed, and between its two files."""
    for removed_files in (0, 1):
        with monkeypatch.context() as patch, store.lock_for_writing():
            patch.setattr(Path, "unlink", _make_killing_unlink(removed_files))
            with pytest.raises(KeyboardInterrupt):
                store.compact()
        store = AdapterStore.open(store.folder)
        assert to_tensor_bytes(store.get_adapter("ann")) == to_tensor_bytes(adapters[2])
        assert to_tensor_bytes(store.get_adapter("bob")) == to_tensor_bytes(adapters[1])
    with store.lock_for_writing():
        store.compact()
    assert {name.split(".")[0] for name in list_shards(store)} == {"000002", "000003"}


def _make_killing_unlink(files: int) -> Callable[..., None]:
    """Return a ``Path.unlink`` that raises KeyboardInterrupt after it has removed ``files`` shard
    files."""
    removed: list[Path] = []
    unlink = Path.unlink

    def unlink_or_kill(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "shards":
            if len(removed) == files:
                raise KeyboardInterrupt
            removed.append(path)
        unlink(path, missing_ok=missing_ok)

    return unlink_or_kill


def test_get_adapter_works_after_another_process_compacts(
    store: AdapterStore, adapters: list[LoraAdapter]
) -> None:
    reader = AdapterStore.open(store.folder)
    with store.lock_for_writing():
        store.compact()
    assert "000001.safetensors" not in list_shards(store)
    assert to_tensor_bytes(reader.get_adapter("bob")) == to_tensor_bytes(adapters[1])


def test_lock_for_writing_waits_for_other_process(
    store: AdapterStore, adapters: list[LoraAdapter], tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.adapters.store.store", "idiolect.models.tiny"])
    lock_marker = tmp_path / "lock_marker"
    other = processes.Process(
        target=hold_and_write, args=(str(store.folder), "dee", str(lock_marker), 0.5)
    )
    other.start()
    # Wait until the other process holds the lock.
    while not lock_marker.exists():
        assert other.is_alive()
        time.sleep(0.01)
    with (
        pytest.raises(BusyError, match=f"in use by process {other.pid}"),
        store.lock_for_writing(wait=False),
    ):
        pytest.fail("two processes hold the lock")
    with store.lock_for_writing():
        assert other.join(60) is None and store.get_record("dee") is not None
        store.add([(make_record("eve"), adapters[3])])
    # Both writers' people are in the store.
    assert other.exitcode == 0
    found = AdapterStore.open(store.folder)
    assert found.people == ("ann", "bob", "cy", "dee", "eve")
    for person in ("ann", "bob", "dee", "eve"):
        assert found.get_adapter(person) is not None
