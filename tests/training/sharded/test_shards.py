"""Shards of a run and their merge: equal to the whole run, repeatable, safe against kills;
errors."""

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
from hypothesis import given
from hypothesis import strategies as st

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import BusyError, IntegrityError, MismatchError, MissingError, UsageError
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.privacy.ledger import Ledger
from idiolect.training.schedule import TrainConfig
from idiolect.training.sharded.parts import RunShard
from support.killed_personalizing import train_shard
from support.sharded_runs import COUNTS, assert_equals_whole_run, get_existing_record, train
from support.tiny_people import UNGATED, make_rater, save_tiny_base, to_tensor_bytes

SHARDS = 3


def make_people(**others: int) -> list[History]:
    return [make_rater(person, count) for person, count in (COUNTS | others).items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a dataset, the store of an unsharded run, and one with finished parts."""
    place = tmp_path_factory.mktemp("scale")
    save_tiny_base(place / "base")
    write_dataset(place / "data", make_people(), task="rating", source="made up")
    train(place, place / "whole")
    train_all_shards(place, place / "parts")
    return place


def train_all_shards(place: Path, store: Path, **options: Any) -> list[Any]:
    return [train(place, store, shard=f"{n}/{SHARDS}", **options) for n in range(1, SHARDS + 1)]


@pytest.fixture
def store(place: Path, tmp_path: Path) -> Path:
    """A store in which all parts of a run wait."""
    shutil.copytree(place / "parts", tmp_path / "store")
    return tmp_path / "store"


def read_all_files(folder: Path) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@given(st.text(), st.integers(1, 9))
def test_includes_person_assigns_each_person_to_one_shard(person: str, of: int) -> None:
    assert sum(RunShard(number, of).includes_person(person) for number in range(1, of + 1)) == 1


def test_includes_person_never_changes() -> None:
    """Parts of different machines and versions must fit together."""
    found = [
        next(n for n in range(1, 5) if RunShard(n, 4).includes_person(f"p{p}")) for p in range(8)
    ]
    assert found == [1, 4, 4, 3, 1, 1, 1, 3]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "1/3/4", "-1/3", "", "²/3"])
def test_personalize_refuses_invalid_shard_before_writing(
    place: Path, tmp_path: Path, text: str
) -> None:
    with pytest.raises(UsageError, match="shard"):
        train(place, tmp_path / "store", shard=text)
    assert not (tmp_path / "store").exists()


def test_merge_of_all_shards_equals_whole_run(place: Path, store: Path) -> None:
    done = api.merge(store)
    assert (done.parts, done.new, done.people) == (SHARDS, len(COUNTS), len(COUNTS))
    assert_equals_whole_run(place, store)
    assert not (store / "parts").exists()
    ledger = Ledger(store / "ledger")
    trained = [person for person in COUNTS if person != "few"]
    assert all(
        [e.event for e in ledger.read_entries_of(person)] == ["trained"] for person in trained
    )
    assert len(ledger.read_entries()) == len(trained)
    assert len((store / "metrics.jsonl").read_text().splitlines()) > SHARDS


def test_merge_ignores_order_of_shards_to_the_byte(
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


def test_shards_and_merge_do_nothing_the_second_time(place: Path, store: Path) -> None:
    before = read_all_files(store)
    again = train_all_shards(place, store)
    assert sum(len(s.unchanged) for s in again) == len(COUNTS) and read_all_files(store) == before
    api.merge(store)
    before = read_all_files(store)
    assert (api.merge(store).parts, read_all_files(store)) == (0, before)
    assert (
        not any(s.trained for s in train_all_shards(place, store))
        and read_all_files(store) == before
    )
    assert train(place, store).trained == ()


def test_shards_train_only_people_with_grown_history(
    place: Path, store: Path, tmp_path: Path
) -> None:
    api.merge(store)
    before = {p: AdapterStore.open(store).get_adapter(p) for p in COUNTS}
    write_dataset(tmp_path / "data", make_people(p3=20), task="rating", source="made up")
    done = train_all_shards(place, store, data=tmp_path / "data")
    assert [s.trained for s in done if s.trained] == [("p3",)]
    assert (api.merge(store).new, AdapterStore.open(store).people) == (
        1,
        tuple(sorted(COUNTS)),
    )
    found = AdapterStore.open(store)
    for person in set(COUNTS) - {"few", "p3"}:
        assert to_tensor_bytes(found.get_adapter(person)) == to_tensor_bytes(before[person])
    assert to_tensor_bytes(found.get_adapter("p3")) != to_tensor_bytes(before["p3"])
    # The outdated adapter is gone from disk.
    on_disk = b"".join(p.read_bytes() for p in (store / "shards").iterdir())
    assert max(to_tensor_bytes(before["p3"]), key=len) not in on_disk
    assert len(Ledger(store / "ledger").read_entries_of("p3")) == 2


def test_shards_in_continue_mode_start_from_merged_adapters(
    place: Path, store: Path, tmp_path: Path
) -> None:
    api.merge(store)
    write_dataset(tmp_path / "data", make_people(p3=14), task="rating", source="made up")
    done = train_all_shards(place, store, data=tmp_path / "data", mode="continue")
    (steps,) = [s.tokens for s in done if s.trained]
    afresh = get_existing_record(AdapterStore.open(store), "p3").tokens
    assert 0 < steps < afresh / 2  # two new items, not twelve


def test_merge_refuses_parts_that_are_not_one_complete_run(
    place: Path, store: Path, tmp_path: Path
) -> None:
    # A missing part, then parts of other settings, other data and other people.
    shutil.rmtree(store / "parts" / "00002-of-00003")
    before = read_all_files(store)
    with pytest.raises(MissingError, match=r"1 of 3 parts missing or not finished: 2/3; run"):
        api.merge(store)
    other = replace(UNGATED, train=TrainConfig(batch=4, epochs=1, rate=0.5))
    train(place, store, shard="2/3", config=other)
    with pytest.raises(MismatchError, match=r"part 2/3 was made with other settings\.train\.rate"):
        api.merge(store)
    write_dataset(tmp_path / "data", make_people(p1=20), task="rating", source="made up")
    train(place, store, shard="2/3", data=tmp_path / "data")
    with pytest.raises(MismatchError, match="part 2/3 was made with other data than"):
        api.merge(store)
    train(place, store, shard="2/3", people=("p1",))
    with pytest.raises(MismatchError, match="other people than"):
        api.merge(store)
    assert not (store / "store.json").exists()
    assert {path: read_all_files(store)[path] for path in before} == before


def test_personalize_and_merge_refuse_other_work_while_parts_wait(place: Path, store: Path) -> None:
    with pytest.raises(UsageError, match=r"holds parts of a run in 3 shards, this is one of 4"):
        train(place, store, shard="1/4")
    with pytest.raises(UsageError, match="parts of a run in 3 shards wait there; merge them first"):
        train(place, store)
    (store / "parts" / "notes").mkdir()
    with pytest.raises(IntegrityError, match="notes: a foreign file among the parts"):
        api.merge(store)


def test_merge_refuses_part_in_use_or_damaged(place: Path, store: Path) -> None:
    part = AdapterStore.open(RunShard(1, SHARDS).get_folder(store))
    with part.lock_for_writing(), pytest.raises(BusyError, match="in use"):
        api.merge(store)
    tensors_file = next((RunShard(1, SHARDS).get_folder(store) / "shards").glob("*.safetensors"))
    raw = bytearray(tensors_file.read_bytes())
    raw[-1] ^= 1
    tensors_file.write_bytes(raw)
    with pytest.raises(IntegrityError, match=tensors_file.name):
        api.merge(store)
    raw[-1] ^= 1
    tensors_file.write_bytes(raw)
    api.merge(store)
    assert_equals_whole_run(place, store)


def test_merge_without_store_fails(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no adapter store there"):
        api.merge(tmp_path / "store")


def test_shard_without_people_writes_a_part(place: Path, tmp_path: Path) -> None:
    options = {"people": ("p0",)}
    for number in (1, 2, 3, 4):
        train(place, tmp_path / "store", shard=f"{number}/4", **options)
    assert (api.merge(tmp_path / "store").people, api.merge(tmp_path / "store").parts) == (
        1,
        0,
    )


def test_merge_killed_at_any_moment_resumes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kill before the first change of the file system, then before the second, and so on.
    for moment in itertools.count():
        store = tmp_path / f"{moment}"
        shutil.copytree(place / "parts", store)
        with monkeypatch.context() as patch:
            killed = _kill_at(patch, moment)
            with contextlib.suppress(KeyboardInterrupt):
                api.merge(store)
        api.merge(store)
        assert_equals_whole_run(place, store)
        assert not (store / "parts").exists() and not (store / "parts.merged").exists()
        events = Counter(entry.who for entry in Ledger(store / "ledger").read_entries())
        assert len(events) == len(COUNTS) - 1 and max(events.values()) <= 2
        shutil.rmtree(store)
        if not killed:
            assert moment > 30
            break


def _kill_at(patch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Raise KeyboardInterrupt, once, before the file system changes for the ``moment``-th time."""
    killed: list[str] = []
    count = [0]

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not str(args[0]).endswith((".held", ".lock")):
                count[0] += 1
                if count[0] == moment + 1:
                    killed.append(name)
                    raise KeyboardInterrupt
            return original(*args, **options)

        return call

    for name in ("link", "replace", "rename", "unlink", "rmdir"):
        patch.setattr(os, name, wrap(name, getattr(os, name)))
    return killed


def test_merge_copies_files_if_hard_links_fail(
    place: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_cross_device(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", raise_cross_device)
    api.merge(store)
    assert_equals_whole_run(place, store)


def test_shard_killed_repeatedly_ends_with_same_bytes(
    place: Path, store: Path, tmp_path: Path
) -> None:
    """Invariant 5, with ``kill -9``."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.training.sharded.shards", "idiolect.api"])
    killed = tmp_path / "killed"
    part, kills, child = RunShard(1, SHARDS).get_folder(killed), 0, None
    # Start the shard again and again; kill it twice, each time after new metrics were written.
    while child is None or child.exitcode != 0:
        arguments = (str(place / "data"), str(killed), str(place / "base"), f"1/{SHARDS}")
        child = processes.Process(target=train_shard, args=arguments)
        child.start()
        before = _count_lines(part / "metrics.jsonl")
        while child.is_alive() and (_count_lines(part / "metrics.jsonl") == before or kills == 2):
            time.sleep(0.001)
        child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        kills += child.exitcode != 0
    # The part equals one that was never killed: same records, same bytes.
    assert kills >= 1
    one, other = AdapterStore.open(part), AdapterStore.open(RunShard(1, SHARDS).get_folder(store))
    assert one.people == other.people
    for person in one.people:
        assert one.get_record(person) == other.get_record(person)
        if person != "few":
            assert to_tensor_bytes(one.get_adapter(person)) == to_tensor_bytes(
                other.get_adapter(person)
            )


def _count_lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
