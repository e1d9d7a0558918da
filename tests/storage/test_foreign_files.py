"""Files from outside that are too deep or too large: one error that names the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from idiolect.config import load_config
from idiolect.errors import IdiolectError, IntegrityError
from idiolect.history.parquet import RowLocation, RowReader, read_locations, write_locations
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import read_json
from idiolect.storage.manifest import Manifest
from idiolect.training.engine.config import EngineConfig

pytestmark = pytest.mark.finding("foreign-base")
DEEP = "[" * 100_000


def read_config(path: Path) -> object:
    return load_config(EngineConfig, path)


def read_ledger(path: Path) -> object:
    text, ledger = path.read_bytes(), Ledger(path.parent)
    path.unlink()
    ledger.record_event("made", ["ann"])
    path.write_bytes(text)
    return ledger.read_entries()


@pytest.mark.parametrize(
    ("name", "read", "text"),
    [
        ("a.json", read_json, DEEP),
        ("a.json", read_config, DEEP),
        ("a.toml", read_config, f"a = {DEEP}"),
        ("a.toml", read_config, "a = '\udcff'"),
        ("events.jsonl", read_ledger, DEEP + "\n"),
    ],
    ids=["checksummed JSON", "JSON config", "TOML config", "not UTF-8", "ledger"],
)
def test_readers_name_file_that_is_too_deep(
    tmp_path: Path, name: str, read: Callable[[Path], object], text: str
) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(IdiolectError, match=name):
        read(tmp_path / name)


def test_manifest_kind_of_file_that_is_too_deep_is_empty(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(DEEP)
    assert Manifest.read_kind(tmp_path) == ""


@pytest.mark.parametrize(("name", "read"), [("a.json", read_json), ("a.toml", read_config)])
def test_readers_refuse_huge_file(
    tmp_path: Path,
    name: str,
    read: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("idiolect.storage.files.MAX_JSON_BYTES", 1_000_000)
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 10**10)  # takes no space
    with pytest.raises(IdiolectError, match="has more than 1,000,000 bytes"):
        read(tmp_path / name)


def test_parquet_readers_refuse_what_is_huge_when_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = RowLocation(person="a" * 100_000, split="all", items=1, queries=0, group=0, offset=0)
    path = tmp_path / "people.parquet"
    write_locations(path, [location])
    assert path.stat().st_size < 50_000
    assert read_locations(path) == [location]
    monkeypatch.setattr("idiolect.history.parquet.MAX_INDEX_BYTES", 50_000)
    monkeypatch.setattr("idiolect.history.parquet.MAX_GROUP_BYTES", 50_000)
    with pytest.raises(IntegrityError, match=r"people\.parquet: holds .* decompressed"):
        read_locations(path)
    with pytest.raises(IntegrityError, match=r"people\.parquet: holds .* decompressed"):
        RowReader(path).read_person(location)
