"""The packed store: what goes in comes out, whoever writes, is killed, or tampers meanwhile."""

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
from idiolect.adapters.store.store import AdapterRecord, AdapterStore, load_adapters
from idiolect.errors import BusyError, IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.storage.files import write_json
from support.store_writer import hold_and_write
from support.tiny_people import LORA, random_adapter, to_tensor_bytes

SETTINGS = {"train": {"rate": 0.5}}


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def some(base: Base) -> list[LoraAdapter]:
    return [random_adapter(base, seed) for seed in range(4)]


def made(folder: Path, base: Base) -> AdapterStore:
    return AdapterStore.create(
        folder, base, source="default", task="rating", config=LORA, settings=SETTINGS
    )


def record(person: str, made_by: str = "x") -> AdapterRecord:
    return AdapterRecord(person=person, served="adapter", made_by=made_by, items=3, history="h")


@pytest.fixture
def store(base: Base, some: list[LoraAdapter], tmp_path: Path) -> AdapterStore:
    """Ann and Bob in the first shard; Ann anew and Cy, whom the base serves, in the second."""
    store = made(tmp_path / "store", base)
    with store.lock_for_writing():
        store.add([(record("ann"), some[0]), (record("bob"), some[1])])
        few = AdapterRecord(person="cy", served="too few items", made_by="x")
        store.add([(record("ann", "later"), some[2]), (few, None)])
    return store


def shards(store: AdapterStore) -> list[str]:
    return sorted(path.name for path in (store.folder / "shards").iterdir())


@pytest.mark.parametrize("change", [{"top_layers": 3}, {"targets": ("q_prj",)}])
def test_adapters_without_a_place_in_the_base_make_no_store(
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


def test_everyone_comes_back_byte_by_byte(store: AdapterStore, some: list[LoraAdapter]) -> None:
    """A later shard's word on a person counts."""
    for found in (store, AdapterStore.open(store.folder)):
        assert found.people == ("ann", "bob", "cy")
        assert to_tensor_bytes(found.get_adapter("ann")) == to_tensor_bytes(some[2])
        assert to_tensor_bytes(found.get_adapter("bob")) == to_tensor_bytes(some[1])
        assert found.get_adapter("cy") is None and found.get_adapter("stranger") is None
        assert found.get_record("ann") == replace(record("ann", "later"), row=0)
        assert found.get_record("stranger") is None
        assert [*load_adapters(found, ["cy", "bob", "stranger"])] == ["bob"]


def test_an_adapter_fits_the_base_it_was_made_for(store: AdapterStore, base: Base) -> None:
    adapter = store.get_adapter("bob")
    assert adapter is not None and adapter.check_matches_base(base, LORA) is adapter
    with pytest.raises(MismatchError, match="was made for base"):
        adapter.check_matches_base(make_tiny_base(1))


def test_putting_it_in_order_drops_what_is_outdated(
    store: AdapterStore, some: list[LoraAdapter]
) -> None:
    with store.lock_for_writing():
        store.compact()
    for found in (store, AdapterStore.open(store.folder)):
        assert to_tensor_bytes(found.get_adapter("ann")) == to_tensor_bytes(some[2])
        assert to_tensor_bytes(found.get_adapter("bob")) == to_tensor_bytes(some[1])
        assert found.people == ("ann", "bob", "cy")
    on_disk = b"".join(p.read_bytes() for p in (store.folder / "shards").iterdir())
    outdated = some[0].pairs["model.layers.0.self_attn.q_proj"][1].numpy().tobytes()
    assert outdated not in on_disk
    before = shards(store)
    with store.lock_for_writing():
        store.compact()
    assert shards(store) == before


people = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True)


@settings(max_examples=20)
@given(added=st.lists(people, min_size=1, max_size=5), orderly=st.integers(0, 5))
def test_whatever_was_added_last_is_there(
    base: Base,
    some: list[LoraAdapter],
    tmp_path_factory: pytest.TempPathFactory,
    added: Sequence[Sequence[str]],
    orderly: int,
) -> None:
    store = made(tmp_path_factory.mktemp("s") / "store", base)
    expected: dict[str, LoraAdapter | None] = {}
    with store.lock_for_writing():
        for number, group in enumerate(added):
            entries = [
                (record(person, f"{number}"), some[number % 4] if person < "d" else None)
                for person in group
            ]
            store.add(entries)
            expected |= {r.person: adapter for r, adapter in entries}
            if number == orderly:
                store.compact()
        store.compact()
    found = AdapterStore.open(store.folder)
    assert found.people == tuple(sorted(expected))
    for person, adapter in expected.items():
        kept = found.get_adapter(person)
        assert (kept is None) == (adapter is None)
        assert adapter is None or to_tensor_bytes(kept) == to_tensor_bytes(adapter)


@pytest.mark.parametrize("name", ["000001.safetensors", "000001.json", "store.json"])
def test_a_changed_byte_is_noticed(store: AdapterStore, name: str) -> None:
    path = next(store.folder.rglob(name))
    for place in (0, len(path.read_bytes()) // 2, -2):
        raw = bytearray(path.read_bytes())
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(IntegrityError, match=path.name):
            AdapterStore.open(store.folder).get_adapter("bob")
        raw[place] ^= 1
        path.write_bytes(raw)
    assert AdapterStore.open(store.folder).get_adapter("bob") is not None


def test_a_shard_that_is_gone_or_cut_is_noticed(store: AdapterStore) -> None:
    path = store.folder / "shards" / "000001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"000001\.safetensors"):
        AdapterStore.open(store.folder).get_adapter("bob")
    path.unlink()
    with pytest.raises(IntegrityError, match=r"000001\.safetensors"):
        AdapterStore.open(store.folder).get_adapter("bob")
    assert AdapterStore.open(store.folder).get_adapter("ann") is not None


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors", "x.json", "1.json"])
def test_a_foreign_file_is_refused(store: AdapterStore, name: str) -> None:
    (store.folder / "shards" / name).write_text("{}")
    with pytest.raises(IntegrityError, match="foreign file"):
        AdapterStore.open(store.folder)


@pytest.mark.parametrize("content", [{}, {"sha256": "", "records": [{"person": "a", "age": 3}]}])
def test_records_that_are_none_are_refused(store: AdapterStore, content: object) -> None:
    write_json(store.folder / "shards" / "000003.json", content)
    with pytest.raises(IntegrityError, match="not valid records of a shard"):
        AdapterStore.open(store.folder)


def test_a_store_is_for_one_base_task_and_kind(store: AdapterStore, base: Base) -> None:
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


def test_other_settings_are_written_with_the_store_in_hand(store: AdapterStore, base: Base) -> None:
    lora, new = replace(LORA, dropout=0.5), {"train": {"rate": 9}}
    again = AdapterStore.create(
        store.folder, base, source="x", task="rating", config=lora, settings=new
    )
    assert AdapterStore.open(store.folder).settings == SETTINGS
    with again.lock_for_writing():
        pass
    found = AdapterStore.open(store.folder)
    assert (found.settings, found.adapter_config, found.base_source) == (new, lora, "default")
    assert found.people == store.people


def test_no_store_and_no_empty_folder(base: Base, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no adapter store there"):
        AdapterStore.open(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files, but no adapter store"):
        made(tmp_path, base)
    (tmp_path / "s" / "shards").mkdir(parents=True)  # as a killed creation leaves it
    assert made(tmp_path / "s", base).people == ()


def test_a_number_that_is_not_finite_is_not_stored(
    store: AdapterStore, some: list[LoraAdapter]
) -> None:
    path, (a, b) = next(iter(some[0].pairs.items()))
    for bad in (float("nan"), float("inf")):
        broken = replace(some[0], pairs={**some[0].pairs, path: (a, torch.full_like(b, bad))})
        before = shards(store)
        with store.lock_for_writing(), pytest.raises(IntegrityError, match="not finite"):
            store.add([(record("dee"), broken)])
        assert shards(store) == before


def test_what_a_killed_writer_left_is_not_there_and_then_gone(
    store: AdapterStore, some: list[LoraAdapter]
) -> None:
    orphan = store.folder / "shards" / "000003.safetensors"
    orphan.write_bytes(b"half of somebody")
    (store.folder / "shards" / ".000003.json.99999999-0000000000000f.partial").write_text("{")
    found = AdapterStore.open(store.folder)
    assert found.people == store.people
    with found.lock_for_writing():
        assert not orphan.exists()
        found.add([(record("dee"), some[3])])
    assert to_tensor_bytes(AdapterStore.open(store.folder).get_adapter("dee")) == to_tensor_bytes(
        some[3]
    )


def test_a_kill_while_putting_in_order_costs_nothing(
    store: AdapterStore, some: list[LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the old shard goes, and between its two files."""
    for lasting in (0, 1):
        with monkeypatch.context() as patch, store.lock_for_writing():
            patch.setattr(Path, "unlink", _killed_after(lasting))
            with pytest.raises(KeyboardInterrupt):
                store.compact()
        store = AdapterStore.open(store.folder)
        assert to_tensor_bytes(store.get_adapter("ann")) == to_tensor_bytes(some[2])
        assert to_tensor_bytes(store.get_adapter("bob")) == to_tensor_bytes(some[1])
    with store.lock_for_writing():
        store.compact()
    assert {name.split(".")[0] for name in shards(store)} == {"000002", "000003"}


def _killed_after(files: int) -> Callable[..., None]:
    """A ``Path.unlink`` that ends the process instead of removing one more of a shard's files."""
    removed: list[Path] = []
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "shards":
            if len(removed) == files:
                raise KeyboardInterrupt
            removed.append(path)
        unlink(path, missing_ok=missing_ok)

    return killed


def test_an_open_store_goes_on_when_another_puts_it_in_order(
    store: AdapterStore, some: list[LoraAdapter]
) -> None:
    reader = AdapterStore.open(store.folder)
    with store.lock_for_writing():
        store.compact()
    assert "000001.safetensors" not in shards(store)
    assert to_tensor_bytes(reader.get_adapter("bob")) == to_tensor_bytes(some[1])


def test_two_processes_wait_for_each_other(
    store: AdapterStore, some: list[LoraAdapter], tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.adapters.store.store", "idiolect.models.tiny"])
    said = tmp_path / "said"
    other = processes.Process(
        target=hold_and_write, args=(str(store.folder), "dee", str(said), 0.5)
    )
    other.start()
    while not said.exists():
        assert other.is_alive()
        time.sleep(0.01)
    with (
        pytest.raises(BusyError, match=f"in use by process {other.pid}"),
        store.lock_for_writing(wait=False),
    ):
        pytest.fail("two have it")
    with store.lock_for_writing():
        assert other.join(60) is None and store.get_record("dee") is not None
        store.add([(record("eve"), some[3])])
    assert other.exitcode == 0
    found = AdapterStore.open(store.folder)
    assert found.people == ("ann", "bob", "cy", "dee", "eve")
    for person in ("ann", "bob", "dee", "eve"):
        assert found.get_adapter(person) is not None
