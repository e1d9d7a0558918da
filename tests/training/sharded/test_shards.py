"""Shards of a run and their merging: the same as the whole run, again and after kills; errors."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect import api
from idiolect.adapters.lora import require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.errors import BusyError, IntegrityError, MismatchError, MissingError, UsageError
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.privacy.ledger import Ledger
from idiolect.training.schedule import TrainConfig
from idiolect.training.sharded.parts import RunShard
from support.killed_personalizing import shard_to_the_end
from support.tiny_people import UNGATED, make_rater, save_tiny_base, to_tensor_bytes

COUNTS = {f"p{n}": 9 + n for n in range(8)} | {"few": 2}
SHARDS = 3


def people(**others: int) -> list[History]:
    return [make_rater(person, count) for person, count in (COUNTS | others).items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a dataset, the store of an unsharded run, and one with finished parts."""
    place = tmp_path_factory.mktemp("scale")
    save_tiny_base(place / "base")
    write_dataset(place / "data", people(), task="rating", source="made up")
    train(place, place / "whole")
    every_shard(place, place / "parts")
    return place


def train(place: Path, store: Path, **options: Any) -> Any:
    given = {"config": UNGATED, "base": str(place / "base"), "data": place / "data"} | options
    return api.personalize(api.PersonalizeRequest(data=given.pop("data"), store=store, **given))


def every_shard(place: Path, store: Path, **options: Any) -> list[Any]:
    return [train(place, store, shard=f"{n}/{SHARDS}", **options) for n in range(1, SHARDS + 1)]


@pytest.fixture
def store(place: Path, tmp_path: Path) -> Path:
    """A store in which all parts of a run wait."""
    shutil.copytree(place / "parts", tmp_path / "store")
    return tmp_path / "store"


def record_of(store: AdapterStore, person: str) -> AdapterRecord:
    found = store.get_record(person)
    assert found is not None
    return found


def distance(one: Adapter, other: Adapter) -> float:
    """The largest ||dBA|| / ||BA|| of a module."""
    ours, theirs = require_lora(one).pairs, require_lora(other).pairs
    pairs = [(b @ a, ours[path]) for path, (a, b) in theirs.items()]
    return max(float(torch.linalg.norm(b @ a - d) / torch.linalg.norm(d)) for d, (a, b) in pairs)


def same_as_the_whole(place: Path, folder: Path) -> None:
    """The same people with the same records (losses but for rounding) and adapters."""
    whole, merged = AdapterStore.open(place / "whole"), AdapterStore.open(folder)
    assert merged.people == whole.people and merged.settings == whole.settings
    for person in whole.people:
        one, other = record_of(whole, person), record_of(merged, person)
        assert other.last_loss == pytest.approx(one.last_loss, rel=1e-5)
        plain = {"row": None, "first_loss": 0.0, "last_loss": 0.0}
        assert replace(one, **plain) == replace(other, **plain)
        adapters = whole.get_adapter(person), merged.get_adapter(person)
        if adapters[0] is not None and adapters[1] is not None:
            assert distance(adapters[0], adapters[1]) <= 1e-5
        assert (adapters[0] is None) == (adapters[1] is None)


def everything(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@given(st.text(), st.integers(1, 9))
def test_everyone_is_in_one_shard(person: str, of: int) -> None:
    assert sum(RunShard(number, of).includes_person(person) for number in range(1, of + 1)) == 1


def test_who_is_in_which_shard_never_changes() -> None:
    """Parts of different machines and versions must fit."""
    found = [
        next(n for n in range(1, 5) if RunShard(n, 4).includes_person(f"p{p}")) for p in range(8)
    ]
    assert found == [1, 4, 4, 3, 1, 1, 1, 3]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "1/3/4", "-1/3", "", "²/3"])
def test_a_wrong_shard_is_said_before_anything_is_made(
    place: Path, tmp_path: Path, text: str
) -> None:
    with pytest.raises(UsageError, match="shard"):
        train(place, tmp_path / "store", shard=text)
    assert not (tmp_path / "store").exists()


def test_merged_shards_are_what_the_whole_run_gives(place: Path, store: Path) -> None:
    done = api.merge(store)
    assert (done.parts, done.new, done.people) == (SHARDS, len(COUNTS), len(COUNTS))
    same_as_the_whole(place, store)
    assert not (store / "parts").exists()
    ledger = Ledger(store / "ledger")
    trained = [person for person in COUNTS if person != "few"]
    assert all(
        [e.event for e in ledger.read_entries_of(person)] == ["trained"] for person in trained
    )
    assert len(ledger.read_entries()) == len(trained)
    assert len((store / "metrics.jsonl").read_text().splitlines()) > SHARDS


def test_shards_in_any_order_are_the_same_to_the_byte(
    place: Path, store: Path, tmp_path: Path
) -> None:
    for number in (2, 3, 1):
        train(place, tmp_path / "other", shard=f"{number}/{SHARDS}")
    for folder in (store, tmp_path / "other"):
        api.merge(folder)
    one, other = AdapterStore.open(store), AdapterStore.open(tmp_path / "other")
    for person in set(COUNTS) - {"few"}:
        assert to_tensor_bytes(one.get_adapter(person)) == to_tensor_bytes(
            other.get_adapter(person)
        )
        assert one.get_record(person) == other.get_record(person)


def test_shards_and_merging_a_second_time_do_nothing(place: Path, store: Path) -> None:
    before = everything(store)
    again = every_shard(place, store)
    assert sum(len(s.unchanged) for s in again) == len(COUNTS) and everything(store) == before
    api.merge(store)
    before = everything(store)
    assert (api.merge(store).parts, everything(store)) == (0, before)
    assert not any(s.trained for s in every_shard(place, store)) and everything(store) == before
    assert train(place, store).trained == ()


def test_only_whose_history_grew_is_trained(place: Path, store: Path, tmp_path: Path) -> None:
    api.merge(store)
    before = {p: AdapterStore.open(store).get_adapter(p) for p in COUNTS}
    write_dataset(tmp_path / "data", people(p3=20), task="rating", source="made up")
    done = every_shard(place, store, data=tmp_path / "data")
    assert [s.trained for s in done if s.trained] == [("p3",)]
    assert (api.merge(store).new, AdapterStore.open(store).people) == (1, tuple(sorted(COUNTS)))
    found = AdapterStore.open(store)
    for person in set(COUNTS) - {"few", "p3"}:
        assert to_tensor_bytes(found.get_adapter(person)) == to_tensor_bytes(before[person])
    assert to_tensor_bytes(found.get_adapter("p3")) != to_tensor_bytes(before["p3"])
    on_disk = b"".join(p.read_bytes() for p in (store / "shards").iterdir())
    assert max(to_tensor_bytes(before["p3"]), key=len) not in on_disk
    assert len(Ledger(store / "ledger").read_entries_of("p3")) == 2


def test_going_on_starts_from_what_is_merged(place: Path, store: Path, tmp_path: Path) -> None:
    api.merge(store)
    write_dataset(tmp_path / "data", people(p3=14), task="rating", source="made up")
    done = every_shard(place, store, data=tmp_path / "data", mode="continue")
    (steps,) = [s.tokens for s in done if s.trained]
    afresh = record_of(AdapterStore.open(store), "p3").tokens
    assert 0 < steps < afresh / 2  # two new items, not twelve


def test_parts_that_are_not_the_whole_of_one_run_are_refused(
    place: Path, store: Path, tmp_path: Path
) -> None:
    shutil.rmtree(store / "parts" / "00002-of-00003")
    before = everything(store)
    with pytest.raises(MissingError, match=r"1 of 3 parts missing or not finished: 2/3; run"):
        api.merge(store)
    other = replace(UNGATED, train=TrainConfig(batch=4, epochs=1, rate=0.5))
    train(place, store, shard="2/3", config=other)
    with pytest.raises(MismatchError, match=r"part 2/3 was made with other settings\.train\.rate"):
        api.merge(store)
    write_dataset(tmp_path / "data", people(p1=20), task="rating", source="made up")
    train(place, store, shard="2/3", data=tmp_path / "data")
    with pytest.raises(MismatchError, match="part 2/3 was made with other data than"):
        api.merge(store)
    train(place, store, shard="2/3", people=("p1",))
    with pytest.raises(MismatchError, match="other people than"):
        api.merge(store)
    assert not (store / "store.json").exists()
    assert {path: everything(store)[path] for path in before} == before


def test_nothing_else_is_done_while_parts_wait(place: Path, store: Path) -> None:
    with pytest.raises(UsageError, match=r"holds parts of a run in 3 shards, this is one of 4"):
        train(place, store, shard="1/4")
    with pytest.raises(UsageError, match="parts of a run in 3 shards wait there; merge them first"):
        train(place, store)
    (store / "parts" / "notes").mkdir()
    with pytest.raises(IntegrityError, match="notes: a foreign file among the parts"):
        api.merge(store)


def test_a_part_that_is_being_written_or_damaged_stops_the_merge(place: Path, store: Path) -> None:
    part = AdapterStore.open(RunShard(1, SHARDS).get_folder(store))
    with part.lock_for_writing(), pytest.raises(BusyError, match="in use"):
        api.merge(store)
    tensors_of = next((RunShard(1, SHARDS).get_folder(store) / "shards").glob("*.safetensors"))
    raw = bytearray(tensors_of.read_bytes())
    raw[-1] ^= 1
    tensors_of.write_bytes(raw)
    with pytest.raises(IntegrityError, match=tensors_of.name):
        api.merge(store)
    raw[-1] ^= 1
    tensors_of.write_bytes(raw)
    api.merge(store)
    same_as_the_whole(place, store)


def test_no_store_no_merge(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no adapter store there"):
        api.merge(tmp_path / "store")


def test_a_shard_of_nobody_is_a_part_too(place: Path, tmp_path: Path) -> None:
    options = {"people": ("p0",)}
    for number in (1, 2, 3, 4):
        train(place, tmp_path / "store", shard=f"{number}/4", **options)
    assert (api.merge(tmp_path / "store").people, api.merge(tmp_path / "store").parts) == (1, 0)


def test_a_merge_that_is_killed_anywhere_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in itertools.count():
        store = tmp_path / f"{moment}"
        shutil.copytree(place / "parts", store)
        with monkeypatch.context() as patch:
            killed = _kill_at(patch, moment)
            with contextlib.suppress(KeyboardInterrupt):
                api.merge(store)
        api.merge(store)
        same_as_the_whole(place, store)
        assert not (store / "parts").exists() and not (store / "parts.merged").exists()
        events = Counter(entry.who for entry in Ledger(store / "ledger").read_entries())
        assert len(events) == len(COUNTS) - 1 and max(events.values()) <= 2
        shutil.rmtree(store)
        if not killed:
            assert moment > 30
            break


def _kill_at(patch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """End the process (once) before the file system is changed for the ``moment``-th time."""
    killed: list[str] = []
    count = [0]

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not str(args[0]).endswith((".held", ".lock")):
                count[0] += 1
                if count[0] == moment + 1:
                    killed.append(name)
                    raise KeyboardInterrupt
            return original(*args, **options)

        return call

    for name in ("link", "replace", "rename", "unlink", "rmdir"):
        patch.setattr(os, name, watched(name, getattr(os, name)))
    return killed


def test_where_files_cannot_be_shared_they_are_copied(
    place: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    api.merge(store)
    same_as_the_whole(place, store)


def test_a_shard_killed_again_and_again_ends_the_same(
    place: Path, store: Path, tmp_path: Path
) -> None:
    """Invariant 5, with ``kill -9``."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.training.sharded.shards", "idiolect.api"])
    killed = tmp_path / "killed"
    part, kills, child = RunShard(1, SHARDS).get_folder(killed), 0, None
    while child is None or child.exitcode != 0:
        arguments = (str(place / "data"), str(killed), str(place / "base"), f"1/{SHARDS}")
        child = processes.Process(target=shard_to_the_end, args=arguments)
        child.start()
        before = _lines(part / "metrics.jsonl")
        while child.is_alive() and (_lines(part / "metrics.jsonl") == before or kills == 2):
            time.sleep(0.001)
        child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        kills += child.exitcode != 0
    assert kills >= 1
    one, other = AdapterStore.open(part), AdapterStore.open(RunShard(1, SHARDS).get_folder(store))
    assert one.people == other.people
    for person in one.people:
        assert one.get_record(person) == other.get_record(person)
        if person != "few":
            assert to_tensor_bytes(one.get_adapter(person)) == to_tensor_bytes(
                other.get_adapter(person)
            )


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
