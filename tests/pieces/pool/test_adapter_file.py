"""Sharers' files: verified once, kept open, at most a fixed number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idiolect.errors import IntegrityError
from idiolect.pieces.pool import adapter_file as files
from idiolect.pieces.pool.adapter_file import AdapterFiles, Pair, get_adapter_path, write_pieces
from idiolect.storage import verified

NAMES = [f"{n:016x}" for n in range(4)]


@pytest.fixture
def sums(tmp_path: Path) -> dict[str, str]:
    return {
        name: write_pieces(
            tmp_path, name, {"q": make_pair(n), "v": make_pair(n + 10)}, base="a base"
        )
        for n, name in enumerate(NAMES)
    }


def make_pair(number: int) -> Pair:
    return torch.full((2, 5), float(number)), torch.full((3, 2), float(-number))


def test_adapter_files_keeps_recent_files_open(
    tmp_path: Path, sums: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_OPEN_FILES", 2)
    monkeypatch.setattr(verified, "_SETTLED_NANOSECONDS", 0)
    opened: list[str] = []
    real = files.safe_open
    monkeypatch.setattr(
        files, "safe_open", lambda path, **how: [opened.append(path.stem), real(path, **how)][1]
    )
    found = AdapterFiles(tmp_path)
    for name in (NAMES[0], NAMES[1], NAMES[0], NAMES[2], NAMES[0], NAMES[1]):
        number = NAMES.index(name)
        a, b = found.read_pieces(name, ["v"], sha256=sums[name])["v"]
        assert torch.equal(a, make_pair(number + 10)[0])
        assert torch.equal(b, make_pair(number + 10)[1])
    assert opened == [NAMES[0], NAMES[1], NAMES[2], NAMES[1]]  # the least recently used was closed


def test_adapter_files_verifies_again_after_close(tmp_path: Path, sums: dict[str, str]) -> None:
    found = AdapterFiles(tmp_path)
    found.read_pieces(NAMES[0], ["q"], sha256=sums[NAMES[0]])
    path = get_adapter_path(tmp_path, NAMES[0])
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.unlink()
    path.write_bytes(bytes(changed))
    found.close()
    with pytest.raises(IntegrityError, match=NAMES[0]):
        found.read_pieces(NAMES[0], ["q"], sha256=sums[NAMES[0]])


def test_adapter_files_names_missing_file(tmp_path: Path, sums: dict[str, str]) -> None:
    get_adapter_path(tmp_path, NAMES[3]).unlink()
    with pytest.raises(IntegrityError, match="missing or changed"):
        AdapterFiles(tmp_path).read_pieces(NAMES[3], ["q"], sha256=sums[NAMES[3]])
