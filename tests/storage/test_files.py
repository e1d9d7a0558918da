"""Tests of atomic files, staged folders, partial files and locks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import BusyError, IdiolectError, IntegrityError, MissingError
from idiolect.storage import files

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def list_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_write_atomic_creates_parents_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    files.write_atomic(path, "one")
    files.write_atomic(path, "zwei é")
    assert path.read_text(encoding="utf-8") == "zwei é"
    assert list_names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_write_atomic_on_full_disk_keeps_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, "old")

    def raise_disk_full(_: int) -> None:
        # fsync fails before the rename, so the old file must stay.
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(IdiolectError, match="disk is full"):
        files.write_atomic(path, "new")
    with pytest.raises(IdiolectError, match="disk is full"), files.stage_folder(tmp_path / "f"):
        os.fsync(0)
    assert path.read_text() == "old"
    assert list_names(tmp_path) == ["file"]


def test_write_atomic_names_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IdiolectError, match=r"cannot write .*file/inner"):
        files.write_atomic(tmp_path / "file" / "inner", "x")


def test_sha256_file_raises_if_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="gone"):
        files.sha256_file(tmp_path / "gone")


@settings(max_examples=40)
@given(content=PLAIN)
def test_write_json_round_trips_with_equal_bytes(
    content: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    files.write_json(path, content)
    first = path.read_bytes()
    assert files.read_json(path) == content
    files.write_json(path, json.loads(json.dumps(content)))
    assert path.read_bytes() == first


def test_write_json_turns_number_keys_into_text(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a", {1: "a", 10: "b", 2: "c"})
    assert files.read_json(tmp_path / "a") == {"1": "a", "10": "b", "2": "c"}


def test_read_json_detects_every_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"weights": [1.5, 2], "who": "ann"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match=r"a\.json"):
            files.read_json(path)
    # Truncation at every length.
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(IntegrityError):
            files.read_json(path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_read_json_refuses_foreign_json(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(IntegrityError):
        files.read_json(tmp_path / "a")


def fill_folder(folder: Path, text: str) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "a").write_text(text)


def fill_and_fail(folder: Path) -> None:
    fill_folder(folder, "x")
    raise ValueError("broken")


def test_stage_folder_appears_only_when_complete(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "thing"
    with files.stage_folder(final) as folder:
        fill_folder(folder, "x")
        assert not final.exists()
    assert (final / "inner" / "a").read_text() == "x"
    assert list_names(final.parent) == ["thing"]


def test_stage_folder_leaves_nothing_after_exception(tmp_path: Path) -> None:
    with pytest.raises(ValueError), files.stage_folder(tmp_path / "t") as folder:
        fill_and_fail(folder)
    assert list_names(tmp_path) == []


def test_stage_folder_passes_errors_of_other_files_through(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="input"),
        files.stage_folder(tmp_path / "t"),
    ):
        (tmp_path / "input").read_text()


def test_stage_folder_keeps_folder_of_faster_process(tmp_path: Path) -> None:
    final = tmp_path / "thing"
    with files.stage_folder(final) as slow:
        # A second process writes the same folder in the meantime.
        with files.stage_folder(final) as fast:
            fill_folder(fast, "fast")
        fill_folder(slow, "slow")
    assert (final / "inner" / "a").read_text() == "fast"
    assert list_names(tmp_path) == ["thing"]


def test_stage_folder_refuses_name_of_existing_file(tmp_path: Path) -> None:
    (tmp_path / "thing").touch()
    with (
        pytest.raises(IdiolectError, match="a file with that name already exists"),
        files.stage_folder(tmp_path / "thing") as folder,
    ):
        fill_folder(folder, "x")
    assert list_names(tmp_path) == ["thing"]


def fail_to_exchange(_one: Path, _other: Path) -> bool:
    return False


@pytest.mark.parametrize("exchange", [None, fail_to_exchange], ids=["exchange", "two renames"])
def test_stage_folder_replaces_old_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exchange: Callable[[Path, Path], bool] | None,
) -> None:
    if exchange is not None:
        monkeypatch.setattr(files, "_exchange_names", exchange)
    final = tmp_path / "thing"
    for text in ("old", "new"):
        with files.stage_folder(final, replace=True) as folder:
            fill_folder(folder, text)
        assert (final / "inner" / "a").read_text() == text
    assert list_names(tmp_path) == ["thing"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps names in one system call")
def test_stage_folder_replaces_without_gap_for_readers(tmp_path: Path) -> None:
    final = tmp_path / "thing"
    with files.stage_folder(final) as folder:
        fill_folder(folder, "0")
    over, missing = threading.Event(), 0

    def watch() -> None:
        nonlocal missing
        while not over.is_set():
            missing += not final.exists()

    # Check for the folder all the time while it is replaced.
    watcher = threading.Thread(target=watch)
    watcher.start()
    for turn in range(30):
        with files.stage_folder(final, replace=True) as folder:
            fill_folder(folder, str(turn))
    over.set()
    watcher.join()
    assert missing == 0


def test_clean_partials_removes_leftovers_of_killed_process(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from idiolect.storage import files
        with files.stage_folder(Path(sys.argv[1])) as folder:
            (folder / "a").write_text("x")
            print("in", flush=True)
            input()
    """
    child = run_python(code, tmp_path / "thing")
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    (left,) = list_names(tmp_path)
    assert files.is_working_file(left)
    assert files.clean_partials(tmp_path) == []  # the process is still running
    # After the kill, the partial folder is a leftover.
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert files.clean_partials(tmp_path) == [left]
    assert list_names(tmp_path) == []


@pytest.mark.finding("sudden-death")
def test_write_atomic_removes_what_a_killed_process_left_in_the_folder(tmp_path: Path) -> None:
    # Left by process 2 of another machine, long ago.
    left, kept = ".people.json.2-abcdef01234567.partial", ".mine.partial"
    for name in (left, kept):
        (tmp_path / name).touch()
    os.utime(tmp_path / left, (0, 0))
    files.write_atomic(tmp_path / "other.json", "{}")
    assert list_names(tmp_path) == sorted([kept, "other.json"])


def test_clean_partials_keeps_foreign_and_recent_files(tmp_path: Path) -> None:
    # Names with the host hash of another machine.
    recent = ".thing.1-abcdef01234567.partial"  # of another machine, on a shared disk
    old = ".thing.2-abcdef01234567.partial"
    for name in (recent, old, ".hidden.partial", "data"):
        (tmp_path / name).touch()
    os.utime(tmp_path / old, (0, 0))
    assert files.clean_partials(tmp_path) == [old]
    assert list_names(tmp_path) == sorted([recent, ".hidden.partial", "data"])
    assert files.clean_partials(tmp_path / "gone") == []


def test_clean_partials_restores_folder_after_kill_during_replace(tmp_path: Path) -> None:
    with files.stage_folder(tmp_path / "thing") as folder:
        fill_folder(folder, "old")
        mark = folder.name.removesuffix(".partial")
    # The state after a kill between the two renames.
    (tmp_path / "thing").rename(tmp_path / f"{mark}.old")
    files.clean_partials(tmp_path)
    assert (tmp_path / "thing" / "inner" / "a").read_text() == "old"


HOLD = """if True:
    import sys
    from pathlib import Path
    from idiolect.storage import files
    with files.hold_lock(Path(sys.argv[1]), wait=False, what="the store"):
        print("in", flush=True)
        input()
"""


def test_hold_lock_names_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    child = run_python(HOLD, tmp_path / "store")
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    for wait in (False, 0.05):
        with (
            pytest.raises(BusyError, match=rf"the store .* process {child.pid} on .* run again"),
            files.hold_lock(tmp_path / "store", wait=wait, what="the store"),
        ):
            pass
    # The lock ends with its process.
    child.kill()
    child.communicate()
    with files.hold_lock(tmp_path / "store", wait=True, what="the store"):
        assert all(files.is_working_file(name) for name in list_names(tmp_path))


def test_hold_lock_waits_for_holder(tmp_path: Path) -> None:
    child = run_python(HOLD, tmp_path / "store")
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    threading.Timer(0.1, lambda: child.communicate("go\n")).start()
    with files.hold_lock(tmp_path / "store", wait=True, what="the store"):
        pass
    assert child.wait() == 0
