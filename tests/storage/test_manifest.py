"""A manifest notices whatever its folder no longer is."""

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
    make(folder).save(folder)
    return folder


def make(folder: Path) -> Manifest:
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


def test_round_trip(folder: Path) -> None:
    manifest = Manifest.load(folder, "adapters")
    assert manifest == make(folder)
    assert manifest.contributors == ("ann", "zoe")
    assert set(manifest.files) == {"weights", "inner/notes"}


def test_equal_making_gives_equal_bytes(folder: Path) -> None:
    before = (folder / Manifest.NAME).read_bytes()
    make(folder).save(folder)
    assert (folder / Manifest.NAME).read_bytes() == before


def test_every_changed_byte_is_refused(folder: Path) -> None:
    for name in ("weights", Manifest.NAME):
        whole = (folder / name).read_bytes()
        for place in range(0, len(whole), 7):
            changed = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
            (folder / name).write_bytes(changed)
            with pytest.raises(IntegrityError, match=name):
                Manifest.load(folder, "adapters")
        (folder / name).write_bytes(whole)
    Manifest.load(folder, "adapters")


@pytest.mark.parametrize("name", ["foreign.pkl", "inner/.hidden", "inner/manifest.json"])
def test_foreign_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(IntegrityError, match="does not list"):
        Manifest.load(folder, "adapters")


def test_dangling_link_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "nowhere")
    with pytest.raises(IntegrityError, match="'link'"):
        Manifest.load(folder, "adapters")


def test_missing_file_is_refused(folder: Path) -> None:
    (folder / "weights").unlink()
    with pytest.raises(IntegrityError, match="'weights' is missing"):
        Manifest.load(folder, "adapters")


def test_locks_inside_do_not_count(folder: Path) -> None:
    with hold_lock(folder / "weights", wait=False, what="the weights"):
        Manifest.load(folder, "adapters")


def test_other_kind_and_format(folder: Path) -> None:
    with pytest.raises(MismatchError, match="contains 'adapters', not 'base'"):
        Manifest.load(folder, "base")
    with pytest.raises(MismatchError, match="older"):
        Manifest.load(folder, "adapters", format_version=2)
    replace(make(folder), format_version=3).save(folder)
    with pytest.raises(MismatchError, match="newer"):
        Manifest.load(folder, "adapters", format_version=2)


def test_not_an_artifact(tmp_path: Path) -> None:
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
def test_a_well_formed_lie_is_refused(folder: Path, change: dict[str, Any]) -> None:
    content = read_json(folder / Manifest.NAME)
    write_json(folder / Manifest.NAME, content | change)
    with pytest.raises(IntegrityError):
        Manifest.load(folder, "adapters")


def test_a_list_is_no_manifest(folder: Path) -> None:
    write_json(folder / Manifest.NAME, [1, 2])
    with pytest.raises(IntegrityError):
        Manifest.load(folder, "adapters")


def test_require(folder: Path) -> None:
    manifest = make(folder)
    manifest.require_match(folder, base="b" * 64, tokenizer=None, task="rating")
    with pytest.raises(MismatchError, match=r"made for base bbb.* not for ccc"):
        manifest.require_match(folder, base="c" * 64)
