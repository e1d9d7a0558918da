"""Tests of artifact manifests: round trip and detection of every change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import IntegrityError, MismatchError, MissingError
from idiolect.storage.files import hold_lock, read_json, write_json
from idiolect.storage.manifest import Manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "thing"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(range(50)))
    (folder / "inner" / "notes").write_text("x")
    make_manifest(folder).save(folder)
    return folder


def make_manifest(folder: Path) -> Manifest:
    return Manifest.from_folder(
        folder,
        kind="adapters",
        base="b" * 64,
        tokenizer="t" * 64,
        task="rating",
        config={"rank": 8, "rate": 1e-3},
        contributors=("zoe", "ann", "zoe"),
        versions={"idiolect": "0.1.0"},
    )


def test_manifest_round_trips(folder: Path) -> None:
    manifest = Manifest.load(folder, "adapters")
    assert manifest == make_manifest(folder)
    assert manifest.contributors == ("ann", "zoe")
    assert set(manifest.files) == {"weights", "inner/notes"}


def test_manifest_of_equal_files_has_equal_bytes(folder: Path) -> None:
    before = (folder / Manifest.NAME).read_bytes()
    make_manifest(folder).save(folder)
    assert (folder / Manifest.NAME).read_bytes() == before


def test_load_refuses_every_changed_byte(folder: Path) -> None:
    for name in ("weights", Manifest.NAME):
        whole = (folder / name).read_bytes()
        # Every seventh byte keeps the test fast.
        for place in range(0, len(whole), 7):
            changed = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
            (folder / name).write_bytes(changed)
            with pytest.raises(IntegrityError, match=name):
                Manifest.load(folder, "adapters")
        (folder / name).write_bytes(whole)
    Manifest.load(folder, "adapters")


@pytest.mark.parametrize("name", ["foreign.pkl", "inner/.hidden", "inner/manifest.json"])
def test_load_refuses_foreign_file(folder: Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(IntegrityError, match="does not list"):
        Manifest.load(folder, "adapters")


def test_load_refuses_dangling_link(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "nowhere")
    with pytest.raises(IntegrityError, match="'link'"):
        Manifest.load(folder, "adapters")


def test_load_refuses_missing_file(folder: Path) -> None:
    (folder / "weights").unlink()
    with pytest.raises(IntegrityError, match="'weights' is missing"):
        Manifest.load(folder, "adapters")


def test_load_ignores_lock_files(folder: Path) -> None:
    with hold_lock(folder / "weights", wait=False, what="the weights"):
        Manifest.load(folder, "adapters")


def test_load_refuses_other_kind_or_format(folder: Path) -> None:
    with pytest.raises(MismatchError, match="contains 'adapters', not 'base'"):
        Manifest.load(folder, "base")
    with pytest.raises(MismatchError, match="older"):
        Manifest.load(folder, "adapters", format_version=2)
    # A manifest of a newer version.
    replace(make_manifest(folder), format_version=3).save(folder)
    with pytest.raises(MismatchError, match="newer"):
        Manifest.load(folder, "adapters", format_version=2)


def test_load_raises_if_folder_is_not_an_artifact(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(MissingError, match=r"no manifest\.json"):
            Manifest.load(place, "base")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../weights": "0"}},
        {"files": {"/weights": "0"}},
        {"files": ["weights"]},
        {"files": {"weights": 3}},
        {"kind": 3},
        {"unknown": 3},
        {"contributors": [1]},
    ],
)
def test_load_refuses_valid_json_with_invalid_content(folder: Path, change: dict[str, Any]) -> None:
    # write_json adds a valid checksum, so only the content is wrong.
    content = read_json(folder / Manifest.NAME)
    write_json(folder / Manifest.NAME, content | change)
    with pytest.raises(IntegrityError):
        Manifest.load(folder, "adapters")


def test_load_refuses_list_as_manifest(folder: Path) -> None:
    write_json(folder / Manifest.NAME, [1, 2])
    with pytest.raises(IntegrityError):
        Manifest.load(folder, "adapters")


def test_require_match_raises_for_other_base(folder: Path) -> None:
    manifest = make_manifest(folder)
    manifest.require_match(folder, base="b" * 64, tokenizer=None, task="rating")
    with pytest.raises(MismatchError, match=r"made for base bbb.* not for ccc"):
        manifest.require_match(folder, base="c" * 64)
