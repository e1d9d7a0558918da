"""Modes of the files and folders that Idiolect writes, whatever the umask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from idiolect.events import Metrics
from idiolect.storage.files import hold_lock, stage_folder, write_atomic, write_json
from idiolect.storage.metrics_log import MetricsLog
from idiolect.storage.permissions import make_folder
from support.private_files import list_modes, use_umask

pytestmark = pytest.mark.finding("file-modes")


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    """The umask under which files of most programs are readable by all."""
    with use_umask(0o002):
        yield


def test_write_atomic_creates_private_file_and_parents(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b" / "file", "x")
    assert list_modes(tmp_path / "a") == {".": "700", "b": "700", "b/file": "600"}


def test_write_atomic_keeps_mode_of_existing_file(tmp_path: Path) -> None:
    for mode in (0o644, 0o640, 0o400):
        path = tmp_path / f"{mode:o}"
        path.write_text("old", encoding="utf-8")
        path.chmod(mode)
        write_json(path, {})
        assert path.stat().st_mode & 0o777 == mode


def test_stage_folder_makes_all_files_private(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x", encoding="utf-8")
    outside.chmod(0o644)
    with stage_folder(tmp_path / "new") as stage:
        # As libraries write files.
        (stage / "inner").mkdir()
        (stage / "inner" / "file").write_text("x", encoding="utf-8")
        (stage / "link").symlink_to(outside)
        assert stage.stat().st_mode & 0o777 == 0o700
    modes = list_modes(tmp_path / "new")
    assert modes == {".": "700", "inner": "700", "inner/file": "600", "link": "644"}


def test_stage_folder_keeps_modes_of_replaced_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "kept").touch(mode=0o640)
    folder.chmod(0o750)
    (folder / "inner").chmod(0o705)
    with stage_folder(folder, replace=True) as stage:
        (stage / "inner").mkdir()
        (stage / "inner" / "kept").touch()
        (stage / "inner" / "new").touch()
    modes = list_modes(folder)
    assert modes == {".": "750", "inner": "705", "inner/kept": "640", "inner/new": "600"}


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_files_in_shared_folder_get_its_group_permissions(tmp_path: Path, umask: int) -> None:
    shared = tmp_path / "pool"
    shared.mkdir()
    shared.chmod(0o2770)
    with use_umask(umask):
        write_atomic(shared / "inner" / "file", "x")
        with stage_folder(shared / "staged") as stage:
            (stage / "file").touch()
    assert list_modes(shared) == {
        ".": "2770",
        "inner": "2770",
        "inner/file": "660",
        "staged": "2770",
        "staged/file": "660",
    }


def test_files_in_folder_open_to_all_are_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    write_atomic(tmp_path / "file", "x")
    make_folder(tmp_path / "folder")
    assert list_modes(tmp_path) == {".": "777", "file": "600", "folder": "700"}


def test_locks_and_logs_are_private(tmp_path: Path) -> None:
    MetricsLog(tmp_path / "log" / "metrics.jsonl")(Metrics(stage="train", values={"loss": 1.0}))
    with hold_lock(tmp_path / "store", wait=False, what="the store"):
        modes = list_modes(tmp_path)
    assert json.loads((tmp_path / "log" / "metrics.jsonl").read_text(encoding="utf-8"))
    assert modes.pop(".")
    assert modes == {
        ".store.held": "600",
        ".store.lock": "600",
        "log": "700",
        "log/metrics.jsonl": "600",
    }
