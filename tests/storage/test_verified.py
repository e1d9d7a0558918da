"""Verified files: each version is verified once, and no other version is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError
from idiolect.storage import verified
from idiolect.storage.verified import VerifiedFiles, read_state
from support.changed_files import change_in_place


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose versions are kept at once."""
    monkeypatch.setattr(verified, "_SETTLED_NANOSECONDS", 0)
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


@pytest.mark.finding("changed-store")
def test_verified_files_verify_each_version_once(path: Path) -> None:
    files = VerifiedFiles()
    calls: list[str] = []

    def read_file(sha256: str = "x") -> bytes:
        return files.read(path, sha256, lambda: calls.append(sha256), path.read_bytes)

    for _ in range(3):
        assert read_file() == b"content"
    assert calls == ["x"]
    # The same bytes for another checksum, changed in place, and replaced.
    read_file("y")
    change_in_place(path)
    read_file("y")
    (path.parent / "new").write_bytes(path.read_bytes())
    os.utime(path.parent / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    (path.parent / "new").replace(path)
    read_file("y")
    assert calls == ["x", "y", "y", "y"]


@pytest.mark.finding("changed-store")
def test_verified_files_refuse_change_while_reading(path: Path) -> None:
    def read_and_change() -> bytes:
        raw = path.read_bytes()
        change_in_place(path)
        return raw

    with pytest.raises(IntegrityError, match="file: changed while it was read"):
        VerifiedFiles().read(path, "x", lambda: None, read_and_change)


def test_verified_files_do_not_keep_version_that_just_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system's clock may give the next version the same time."""
    monkeypatch.setattr(verified, "_SETTLED_NANOSECONDS", 10**18)
    files, calls = VerifiedFiles(), list[int]()
    for n in range(3):
        files.read(path, "x", lambda n=n: calls.append(n), path.read_bytes)
    assert calls == [0, 1, 2]


def test_read_state_of_missing_file_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path / "missing") is None
