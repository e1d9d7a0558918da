"""The pool: adding and removing sharers leaves all other bytes unchanged, despite kills and
tampering."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import BusyError, IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.pool import pool as pool_module
from idiolect.pieces.pool.contribution import (
    Contribution,
    choose_shared_modules,
    make_pseudonym,
    round_figures,
)
from idiolect.pieces.pool.pool import Pool
from idiolect.storage import verified
from idiolect.storage.files import is_working_file, read_json, write_json
from support.changed_files import change_in_place
from support.killed_pool import write_pool_and_die
from support.sharers import LORA, create_empty_pool, make_contribution, make_sharer_id
from support.tiny_people import to_tensor_bytes


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


def list_every_other_site(pool: Pool) -> tuple[str, ...]:
    """Every other site of the pool."""
    return pool.sites[::2]


@pytest.fixture
def pool(base: Base, tmp_path: Path) -> Pool:
    """Sharers 0, 1, 2 in the first segment, where 1 shares every other site; 3 and 4 in the
    second."""
    out = create_empty_pool(tmp_path / "pool", base)
    with out.lock_for_writing():
        out.add_sharers(
            [
                make_contribution(out, base, 0),
                make_contribution(out, base, 1, list_every_other_site(out)),
                make_contribution(out, base, 2),
            ]
        )
        out.add_sharers([make_contribution(out, base, 3), make_contribution(out, base, 4)])
    return out


def read_files(pool: Pool) -> dict[str, bytes]:
    return {
        str(p.relative_to(pool.folder)): p.read_bytes()
        for p in pool.folder.rglob("*")
        if p.is_file()
    }


def normalize(gate: torch.Tensor) -> torch.Tensor:
    """LN(g), computed by hand."""
    middle = gate.double() - gate.double().mean()
    return middle / middle.square().mean().sqrt()


def list_traces(entry: Contribution) -> list[bytes]:
    """Short byte sequences of everything that a sharer contributed."""
    out = [entry.sharer.encode()]
    for path in entry.sites:
        gate = entry.gates[path]
        for whole in (*entry.adapter.pairs[path], gate, normalize(gate).half()):
            raw = whole.contiguous().numpy().tobytes()
            out += [raw[at : at + 16] for at in range(0, len(raw) - 15, 16)]
    return out


def is_intact(pool: Pool, base: Base, number: int) -> bool:
    """Returns whether a sharer of all sites is in the pool with all that they contributed."""
    given, at = make_contribution(pool, base, number), pool.sharers.index(make_sharer_id(number))
    return to_tensor_bytes(pool.get_adapter(make_sharer_id(number))) == to_tensor_bytes(
        given.adapter
    ) and all(
        torch.equal(pool.load_gates(path)[at], normalize(given.gates[path]).half().float())
        for path in pool.sites
    )


def test_pool_returns_what_was_added(pool: Pool, base: Base) -> None:
    for found in (pool, Pool.open(pool.folder)):
        assert found.sharers == tuple(map(make_sharer_id, range(5)))
        assert (found.id, found.sites, found.lora) == (pool.id, pool.sites, LORA)
        assert found.base_source == "tiny" and found.settings == {"steps": 9}
        assert all(is_intact(found, base, number) for number in (0, 2, 3, 4))
        assert found.get_adapter(make_sharer_id(2)).check_matches_base(base, LORA)
        assert found.get_record(make_sharer_id(3)).about == {"steps": 100, "loss": 0.5}
        found.check_compatible(base=base.identity, task="rating", config=LORA)


def test_pool_holds_only_shared_sites(pool: Pool, base: Base) -> None:
    given = make_contribution(pool, base, 1)
    for path in pool.sites:
        shared = path in list_every_other_site(pool)
        assert pool.get_shared_mask(path).tolist() == [True, shared, True, True, True]
        assert bool(pool.load_gates(path)[1].any()) == shared
        a, b = pool.get_adapter(make_sharer_id(1)).pairs[path]
        assert torch.equal(a, given.adapter.pairs[path][0] * shared) and bool(b.any()) == shared
    assert (
        (*pool.load_pieces(make_sharer_id(1)),)
        == pool.list_shared_modules(make_sharer_id(1))
        == list_every_other_site(pool)
    )
    assert [*pool.load_pieces(make_sharer_id(1), [pool.sites[2]])] == [pool.sites[2]]
    with pytest.raises(MissingError, match=rf"{make_sharer_id(1)} does not share {pool.sites[1]}"):
        pool.load_pieces(make_sharer_id(1), [pool.sites[1]])
    on_disk = b"".join(read_files(pool).values())
    kept = replace(given, sites=tuple(set(pool.sites) - set(list_every_other_site(pool))))
    assert not any(trace in on_disk for trace in list_traces(kept)[1:])


def test_add_sharers_changes_no_existing_file(pool: Pool, base: Base) -> None:
    before = read_files(pool)
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, 9)])
        pool.add_sharers([])
    after = read_files(pool)
    new = {
        "segments/000003.json",
        "segments/000003.safetensors",
        f"pieces/{make_sharer_id(9)}.safetensors",
    }
    assert after.keys() - before.keys() == new
    assert all(after[path] == before[path] for path in before)


@pytest.mark.parametrize("gone", [[1], [0, 3], [0, 1, 2], [4, 3, 2, 1, 0]])
def test_remove_sharers_erases_only_their_bytes(
    pool: Pool, base: Base, gone: Sequence[int]
) -> None:
    before, entries = (
        read_files(pool),
        [
            make_contribution(pool, base, n, pool.list_shared_modules(make_sharer_id(n)))
            for n in gone
        ],
    )
    assert all(t in b"".join(before.values()) for e in entries for t in list_traces(e)[1:3])
    with pool.lock_for_writing():
        pool.remove_sharers([entry.sharer for entry in entries])
    after = read_files(pool)
    left = " ".join(after).encode() + b"".join(after.values())
    assert not any(trace in left for entry in entries for trace in list_traces(entry))
    for path in after:
        if path.endswith(".safetensors"):
            assert len(after[path]) == len(before[path])
            changed = [a for a, b in zip(after[path], before[path], strict=True) if a != b]
            assert not any(changed)  # only zeros are written
            assert not changed or path.startswith("segments")
    stay = [n for n in range(5) if n not in gone]
    for found in (pool, Pool.open(pool.folder)):
        assert found.sharers == tuple(map(make_sharer_id, stay))
        assert all(is_intact(found, base, n) for n in stay if n != 1)
        assert found.load_gates(pool.sites[0]).shape == (len(stay), 32)
        assert found.get_shared_mask(pool.sites[1]).tolist() == [n != 1 for n in stay]
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, 9)])
    assert is_intact(Pool.open(pool.folder), base, 9)
    assert max(p for p in read_files(pool) if "json" in p and "seg" in p) == "segments/000003.json"


def test_remove_sharers_rejects_unknown_sharer(pool: Pool) -> None:
    before = read_files(pool)
    with (
        pool.lock_for_writing(),
        pytest.raises(MissingError, match=f"no sharer {make_sharer_id(9)}"),
    ):
        pool.remove_sharers([make_sharer_id(0), make_sharer_id(9)])
    assert read_files(pool) == before
    for ask in (pool.get_record, pool.get_adapter, pool.list_shared_modules):
        with pytest.raises(MissingError, match=f"no sharer {make_sharer_id(9)}"):
            ask(make_sharer_id(9))
    with pytest.raises(MissingError, match="the pool has no module 'lm_head'"):
        pool.load_gates("lm_head")


def kill_at_step(step: int, patch: pytest.MonkeyPatch) -> None:
    """Interrupts the process at a step; steps are renames, syncs and removals."""
    calls, unlink = [0], Path.unlink

    def wrap(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            is_partial = inner == unlink and is_working_file(
                args[0].name
            )  # removed with its process
            calls[0] += not is_partial
            if calls[0] > step and not is_partial:
                raise KeyboardInterrupt
            return inner(*args, **options)

        return call

    patch.setattr(os, "fsync", wrap(os.fsync))
    patch.setattr(Path, "replace", wrap(Path.replace))
    patch.setattr(Path, "unlink", wrap(Path.unlink))


@pytest.mark.parametrize("doing", ["add", "withdraw", "withdraw both"])
def test_pool_writer_completes_interrupted_change(
    pool: Pool, base: Base, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    who = {"add": [9, 8], "withdraw": [1], "withdraw both": [2, 4]}[doing]
    names = [make_sharer_id(n) for n in who]
    entries = [
        make_contribution(pool, base, n, list_every_other_site(pool) if n == 1 else None)
        for n in who
    ]
    untouched = [n for n in (0, 2, 3, 4) if n not in who]
    kills = 0
    for step in range(100):
        pool = Pool.open(pool.folder)
        with pool.lock_for_writing(), monkeypatch.context() as patch:
            kill_at_step(step, patch)
            try:
                pool.add_sharers(entries) if doing == "add" else pool.remove_sharers(names)
                break
            except KeyboardInterrupt:
                kills += 1
        found = Pool.open(pool.folder)
        there = [n for n in names if n in found.sharers]
        assert all(is_intact(found, base, n) for n in untouched)
        with found.lock_for_writing():
            left = " ".join(read_files(found)).encode() + b"".join(read_files(found).values())
            for entry in entries:
                is_left = entry.sharer in there
                assert any(trace in left for trace in list_traces(entry)) == is_left
            if doing == "add" and there:
                assert there == names and all(is_intact(found, base, n) for n in who)
                found.remove_sharers(there)
            elif doing != "add" and len(there) < len(names):
                found.add_sharers([entry for entry in entries if entry.sharer not in there])
    assert kills >= 5
    assert {*names} <= {*pool.sharers} if doing == "add" else not {*names} & {*pool.sharers}
    assert all(is_intact(Pool.open(pool.folder), base, n) for n in untouched)


@pytest.mark.parametrize(("doing", "after"), [("add", 3), ("withdraw", 1)])
def test_pool_writer_completes_change_of_killed_process(
    pool: Pool, base: Base, doing: str, after: int
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.pieces", "idiolect.models.tiny"])
    other = processes.Process(target=write_pool_and_die, args=(str(pool.folder), doing, after))
    other.start()
    other.join(60)
    assert other.exitcode == -signal.SIGKILL
    found = Pool.open(pool.folder)
    assert found.sharers == tuple(make_sharer_id(n) for n in range(5) if doing == "add" or n != 1)
    gone = make_contribution(
        pool,
        base,
        9 if doing == "add" else 1,
        None if doing == "add" else list_every_other_site(pool),
    )
    before = " ".join(read_files(found)).encode() + b"".join(read_files(found).values())
    assert any(trace in before for trace in list_traces(gone))
    with found.lock_for_writing():
        pass
    left = " ".join(read_files(found)).encode() + b"".join(read_files(found).values())
    assert not any(trace in left for trace in list_traces(gone))
    assert all(is_intact(Pool.open(pool.folder), base, n) for n in (0, 2, 3, 4))


def test_pool_reader_detects_concurrent_withdrawal(pool: Pool) -> None:
    reader = Pool.open(pool.folder)
    for path in pool.sites:
        reader.load_gates(path)
    with pool.lock_for_writing():
        pool.remove_sharers([make_sharer_id(2)])
    with pytest.raises(IntegrityError, match="a gate changed while the pool was open"):
        reader.load_gates(pool.sites[0])
    with pytest.raises(IntegrityError, match="changed while the pool was open"):
        reader.load_pieces(make_sharer_id(2))
    assert reader.load_pieces(make_sharer_id(0))
    # Reading the records again makes the pool usable, without that sharer.
    reader.refresh_sharers()
    assert make_sharer_id(2) not in reader.sharers and len(reader.load_gates(pool.sites[0])) == 4
    with pytest.raises(MissingError, match="no sharer"):
        reader.load_pieces(make_sharer_id(2))


@pytest.mark.finding("changed-store")
@pytest.mark.parametrize("keeps_at_once", [True, False])
def test_open_pool_serves_nothing_changed_after_first_look(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, keeps_at_once: bool
) -> None:
    if keeps_at_once:
        monkeypatch.setattr(verified, "_SETTLED_NANOSECONDS", 0)
    monkeypatch.setattr(pool_module, "MAX_CACHE_BYTES", 0)
    reader, sharer = Pool.open(pool.folder), make_sharer_id(0)
    pieces, gates = reader.load_pieces(sharer), reader.load_gates(pool.sites[0])
    kept = {path: (a.clone(), b.clone()) for path, (a, b) in pieces.items()}
    for path, use in (
        (pool.folder / "pieces" / f"{sharer}.safetensors", lambda: reader.load_pieces(sharer)),
        (
            pool.folder / "segments" / "000001.safetensors",
            lambda: reader.load_gates(pool.sites[0]),
        ),
    ):
        change_in_place(path)
        with pytest.raises(IntegrityError, match=f"{path.name}.*changed after it was written|gate"):
            use()
        # What was read before does not change with the file.
        for site, pair in kept.items():
            assert all(torch.equal(x, y) for x, y in zip(pair, pieces[site], strict=True))
        change_in_place(path)
        use()
    assert torch.equal(reader.load_gates(pool.sites[0]), gates)


def test_lock_for_writing_excludes_other_writers(pool: Pool) -> None:
    with (
        pool.lock_for_writing(),
        pytest.raises(BusyError, match=r"the pool .* is in use"),
        Pool.open(pool.folder).lock_for_writing(wait=False),
    ):
        pytest.fail("two writers hold the lock")


def read_all(folder: Path) -> None:
    """Reads everything in a pool."""
    pool = Pool.open(folder)
    for path in pool.sites:
        pool.load_gates(path)
    for one in pool.sharers:
        pool.get_adapter(one)


def test_pool_detects_changed_byte(pool: Pool) -> None:
    for path in [p for p in pool.folder.rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        notes = whole.find(b'"pt"') + 1  # in a header field that no other check reads
        for place in {*range(0, len(whole), max(1, len(whole) // 40)), notes, len(whole) - 1}:
            raw = bytearray(whole)
            raw[place] ^= 1 << place % 8
            path.write_bytes(raw)
            with pytest.raises((IntegrityError, MismatchError), match=path.stem):
                read_all(pool.folder)
        for cut in (0, 5, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:cut])
            with pytest.raises((IntegrityError, MismatchError), match=path.stem):
                read_all(pool.folder)
        path.write_bytes(whole)
    read_all(pool.folder)


@pytest.mark.parametrize(
    "kind", ["segments/000001.safetensors", f"pieces/{make_sharer_id(0)}.safetensors"]
)
def test_pool_detects_missing_file(pool: Pool, kind: str) -> None:
    (pool.folder / kind).unlink()
    with pytest.raises(IntegrityError, match=Path(kind).name):
        read_all(pool.folder)


@pytest.mark.parametrize(
    "place", ["names.txt", "segments/notes.txt", "pieces/ann.safetensors", "pieces/0.bin"]
)
def test_pool_open_rejects_foreign_file(pool: Pool, place: str) -> None:
    (pool.folder / place).write_text("{}")
    with pytest.raises(IntegrityError, match="foreign file"):
        Pool.open(pool.folder)


def test_pool_open_rejects_segment_of_another_pool(pool: Pool, base: Base, tmp_path: Path) -> None:
    other = create_empty_pool(tmp_path / "other", base)
    with other.lock_for_writing():
        other.add_sharers([make_contribution(other, base, 7)])
    records = (other.folder / "segments" / "000001.json").read_bytes()
    (pool.folder / "segments" / "000007.json").write_bytes(records)
    with pytest.raises(IntegrityError, match=r"000007\.json: belongs to another pool"):
        Pool.open(pool.folder)


@pytest.mark.parametrize(
    "change",
    [
        {"sharer": "ann"},
        {"row": "0"},
        {"shared": "1"},
        {"shared": "2" * 8},
        {"age": 3},
        {"sharer": make_sharer_id(4)},
    ],
)
def test_pool_open_rejects_invalid_records(pool: Pool, change: dict[str, Any]) -> None:
    path = pool.folder / "segments" / "000001.json"
    content = read_json(path)
    content["records"][0] |= change
    write_json(path, content)
    with pytest.raises(IntegrityError, match=r"not a file of segment records|names a sharer twice"):
        Pool.open(pool.folder)


def test_load_gates_rejects_missing_row(pool: Pool) -> None:
    path = pool.folder / "segments" / "000001.json"
    content = read_json(path)
    content["records"][0]["row"] = 3
    write_json(path, content)
    with pytest.raises(IntegrityError, match="no row for a sharer's gates"):
        Pool.open(pool.folder).load_gates(pool.sites[0])


def test_pool_create_rejects_other_base_task_or_kind(
    pool: Pool, base: Base, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"source": "x", "settings": {}}
    with pytest.raises(MismatchError, match="made for base tiny-0"):
        Pool.create(pool.folder, make_tiny_base(1), task="rating", lora=LORA, **options)
    with pytest.raises(MismatchError, match="task 'rating', but the data is for task 'reply'"):
        Pool.create(pool.folder, base, task="reply", lora=LORA, **options)
    with pytest.raises(MismatchError, match="use another pool of pieces"):
        Pool.create(pool.folder, base, task="rating", lora=replace(LORA, rank=4), **options)
    again = Pool.create(
        pool.folder, base, task="rating", lora=replace(LORA, dropout=0.5), **options
    )
    assert (again.id, again.settings, again.lora) == (pool.id, pool.settings, LORA)
    with pytest.raises(UsageError, match=r"lora\.targets"):
        create_empty_pool(tmp_path / "none", base, replace(LORA, targets=("q_prj",)))
    assert not (tmp_path / "none").exists()


def test_pool_open_and_create_reject_other_folders(base: Base, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no pool of pieces there.*idiolect share"):
        Pool.open(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files"):
        create_empty_pool(tmp_path, base)
    write_json(tmp_path / "p" / "pool.json", {"format": 1, "id": "x"})
    with pytest.raises(IntegrityError, match="not a valid pool of pieces header"):
        Pool.open(tmp_path / "p")
    write_json(tmp_path / "p" / "pool.json", {"format": 2})
    with pytest.raises(MismatchError, match="no pool of pieces of format 1"):
        Pool.open(tmp_path / "p")


def check_refused(
    pool: Pool, base: Base, error: type[Exception], match: str, **change: Any
) -> None:
    """Checks that the changed entry is refused, and that neither it nor its companions are
    written."""
    before = read_files(pool)
    entry = replace(make_contribution(pool, base, 9), **change)
    with pool.lock_for_writing(), pytest.raises(error, match=match):
        pool.add_sharers([make_contribution(pool, base, 8), entry])
    assert read_files(pool) == before


@pytest.mark.parametrize("value", [0.0, 0.1, -3e-5])
def test_add_sharers_rejects_flat_gate(pool: Pool, base: Base, value: float) -> None:
    gates = {**make_contribution(pool, base, 9).gates, pool.sites[3]: torch.full((32,), value)}
    check_refused(
        pool, base, IntegrityError, rf"{pool.sites[3]}: the gate is zero or constant", gates=gates
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_add_sharers_rejects_non_finite_numbers(pool: Pool, base: Base, bad: float) -> None:
    entry = make_contribution(pool, base, 9)
    gates = {**entry.gates, pool.sites[0]: torch.full((32,), bad)}
    check_refused(
        pool, base, IntegrityError, "the gate holds a value that is not finite", gates=gates
    )
    a, b = entry.adapter.pairs[pool.sites[1]]
    pairs = {**entry.adapter.pairs, pool.sites[1]: (a, torch.full_like(b, bad))}
    adapter = replace(entry.adapter, pairs=pairs)
    check_refused(pool, base, IntegrityError, "not finite", adapter=adapter)
    check_refused(pool, base, UsageError, "only finite numbers", about={"loss": bad})


def test_add_sharers_rejects_unfit_contributions(pool: Pool, base: Base) -> None:
    entry = make_contribution(pool, base, 9)
    check_refused(pool, base, UsageError, "'Ann' is not a pseudonym", sharer="Ann")
    check_refused(
        pool, base, UsageError, "a sharer is already in the pool", sharer=make_sharer_id(1)
    )
    check_refused(
        pool, base, UsageError, "a sharer is already in the pool", sharer=make_sharer_id(8)
    )
    check_refused(pool, base, UsageError, "only finite numbers", about={"Ann, 1 Main St": 1})
    check_refused(pool, base, UsageError, "only finite numbers", about={"name": "Ann"})
    check_refused(pool, base, UsageError, "these must be modules of the pool", sites=())
    check_refused(pool, base, UsageError, "these must be modules of the pool", sites=("lm_head",))
    check_refused(pool, base, UsageError, "expected a gate of 32 numbers", gates={})
    other = replace(entry.adapter, base=make_tiny_base(1).identity)
    check_refused(pool, base, MismatchError, "made for base tiny-0", adapter=other)
    other = replace(entry.adapter, config=replace(LORA, alpha=1.0))
    check_refused(pool, base, MismatchError, "use another pool", adapter=other)


@pytest.mark.finding("pool-pseudonyms")
def test_add_sharers_keeps_random_order_and_rounded_numbers(base: Base, tmp_path: Path) -> None:
    about = {
        "items": 37,
        "steps": 148,
        "small": 3,
        "flag": 1,
        "none": 0,
        "loss": 1.23456,
        "p": 0.0317,
    }
    pool = create_empty_pool(tmp_path / "pool", base)
    entries = [replace(make_contribution(pool, base, n), about=about) for n in (2, 0, 1)]
    with pool.lock_for_writing():
        pool.add_sharers(entries)
    assert pool.sharers == tuple(sorted(entry.sharer for entry in entries))
    rounded = {"items": 50, "steps": 100, "small": 2, "flag": 1, "none": 0}
    rounded |= {"loss": 1.2, "p": 0.032}
    for found in (pool, Pool.open(pool.folder)):
        assert all(found.get_record(entry.sharer).about == rounded for entry in entries)
        assert all(is_intact(found, base, number) for number in range(3))


@given(count=st.integers(-(10**6), 10**6))
def test_round_figures_keeps_few_counts_apart(count: int) -> None:
    (found,) = round_figures({"count": count}).values()
    assert abs(found) in {0, *(step * 10**power for step in (1, 2, 5) for power in range(7))}
    assert abs(found - count) <= 0.43 * abs(count) and round_figures({"c": found}) == {"c": found}


def test_pool_open_reads_thousand_sharers_lazily(base: Base, tmp_path: Path) -> None:
    lora = replace(LORA, targets=("q_proj",))
    pool = create_empty_pool(tmp_path / "pool", base, lora)
    adapter = make_contribution(pool, base, 0).adapter
    entries = [
        Contribution(
            sharer=make_sharer_id(n),
            adapter=adapter,
            gates={path: torch.randn(32, generator=torch.Generator().manual_seed(n))},
            sites=(path,),
        )
        for n in range(1000)
        for path in [pool.sites[n % 2]]
    ]
    with pool.lock_for_writing():
        pool.add_sharers(entries[:600])
        pool.add_sharers(entries[600:])
    for file in (make_sharer_id(7), make_sharer_id(9)):
        (pool.folder / "pieces" / f"{file}.safetensors").write_bytes(b"")
    second = pool.folder / "segments" / "000002.safetensors"
    whole = second.read_bytes()
    second.write_bytes(b"")
    found = Pool.open(pool.folder)  # reads neither pieces nor gates
    assert len(found.sharers) == 1000 and found.load_pieces(make_sharer_id(8))
    with pytest.raises(IntegrityError, match=make_sharer_id(7)):
        found.load_pieces(make_sharer_id(7))
    with pytest.raises(IntegrityError, match="000002"):
        found.load_gates(pool.sites[0])
    second.write_bytes(whole)
    for at, path in enumerate(pool.sites):
        gates = found.load_gates(path)
        expected = torch.zeros(1000, 32)
        for n in range(at, 1000, 2):
            expected[n] = normalize(entries[n].gates[path]).half()
        assert gates.dtype == torch.float32 and torch.equal(gates, expected)


def test_make_pseudonym_is_random() -> None:
    drawn = {make_pseudonym() for _ in range(100)}
    assert len(drawn) == 100 and all(len(n) == 16 for n in drawn)


@given(
    seed=st.integers(0, 9),
    count=st.integers(1, 40),
    ratios=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
)
def test_choose_shared_modules_is_stable_and_nested(
    seed: int, count: int, ratios: tuple[float, float]
) -> None:
    paths = [f"layer.{n}" for n in range(count)]
    less, more = (choose_shared_modules(seed, "s", paths, ratio) for ratio in sorted(ratios))
    assert set(less) <= set(more) <= set(paths)
    assert len(less) == math.ceil(min(ratios) * count - 1e-9) >= 1
    assert [*more] == sorted(more, key=paths.index)
    assert less == choose_shared_modules(seed, "s", paths, min(ratios))


def test_choose_shared_modules_differs_by_sharer_and_seed() -> None:
    paths = [f"layer.{n}" for n in range(30)]
    shares = {choose_shared_modules(0, sharer, paths, 0.5) for sharer in "abcd"}
    assert len(shares) == 4 and choose_shared_modules(1, "a", paths, 0.5) != choose_shared_modules(
        0, "a", paths, 0.5
    )
    assert len(choose_shared_modules(0, "a", paths, 0.1)) == 3 and choose_shared_modules(
        0, "a", paths, 1
    ) == (*paths,)
    for ratio in (0, -1, 1.1, math.nan):
        with pytest.raises(UsageError, match="sharing ratio"):
            choose_shared_modules(0, "a", paths, ratio)


@settings(max_examples=15)
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_pool_survives_any_sequence_of_changes(
    base: Base, tmp_path_factory: pytest.TempPathFactory, steps: list[list[int] | int]
) -> None:
    """Groups join, in the order of their pseudonyms, single sharers leave, some join again."""
    pool = create_empty_pool(tmp_path_factory.mktemp("p") / "pool", base)
    expected: list[int] = []
    with pool.lock_for_writing():
        for step in steps:
            if isinstance(step, list):
                new = [n for n in step if n not in expected]
                pool.add_sharers([make_contribution(pool, base, n) for n in new])
                expected += sorted(new)
            elif step in expected:
                pool.remove_sharers([make_sharer_id(step)])
                expected.remove(step)
    for found in (pool, Pool.open(pool.folder)):
        assert found.sharers == tuple(map(make_sharer_id, expected))
        assert all(is_intact(found, base, n) for n in expected)
