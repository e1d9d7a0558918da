"""``forget`` among symbolic links, and its search for what is left in all kinds of places."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.receipt import Receipt
from idiolect.errors import IntegrityError
from idiolect.history.dataset import read_dataset
from idiolect.history.write import write_dataset
from idiolect.pieces.withdrawal.remake import delete_export
from idiolect.storage.manifest import Manifest
from support.erasure_world import (
    ANN,
    BART,
    ErasureWorld,
    build_trained_world,
    copy_world,
    make_chat,
    make_sentence,
)
from support.planted_remains import PLANTS

links = pytest.mark.finding("symbolic-links")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ErasureWorld:
    place = build_trained_world(tmp_path_factory.mktemp("links") / "all")
    api.export(api.ExportRequest(store=place.store, person=ANN, out=place.folder / "out"))
    return place


@pytest.fixture
def place(template: ErasureWorld, tmp_path: Path) -> ErasureWorld:
    (tmp_path / "outside").mkdir()
    return copy_world(template, tmp_path / "all")


def forget_quickly(place: ErasureWorld, *, verify: bool = False) -> Receipt:
    """Forget without training other people's adapters again."""
    return place.forget(config=api.ForgetConfig(rebuild=False), verify=verify)


@links
def test_forget_finds_another_store_behind_a_link(place: ErasureWorld, tmp_path: Path) -> None:
    other = tmp_path / "outside" / "store"
    shutil.copytree(place.store, other)
    (place.folder / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "back").symlink_to(place.folder)
    done = forget_quickly(place, verify=True)
    assert ANN not in AdapterStore.open(other).people
    assert (done.left, done.unsearched, done.unreadable) == ((), (), ())


@links
def test_forget_follows_a_link_to_the_dataset(place: ErasureWorld, tmp_path: Path) -> None:
    real = tmp_path / "outside" / "data"
    shutil.move(place.data, real)
    place.data.symlink_to(real)
    done = forget_quickly(place, verify=True)
    assert place.data.is_symlink() and done.is_complete
    assert ANN not in read_dataset(real) and BART in read_dataset(real)
    assert forget_quickly(place, verify=True).effects == ()


def _add_to_manifest(folder: Path, name: str) -> None:
    manifest = Manifest.read_unchecked(folder)
    files = {**manifest.files, name: "0" * 64}
    Manifest(kind=manifest.kind, config=manifest.config, files=files).save(folder)


@links
@pytest.mark.parametrize("command", ["forget", "withdraw"])
def test_deleting_an_export_never_deletes_outside_of_it(
    place: ErasureWorld, tmp_path: Path, command: str
) -> None:
    kept = tmp_path / "outside" / "kept.txt"
    kept.write_text("kept")
    export = place.folder / "out"
    (export / "sub").symlink_to(kept.parent)
    (export / "file.txt").symlink_to(kept)
    for name in ("sub/kept.txt", "file.txt"):
        _add_to_manifest(export, name)
    if command == "forget":
        forget_quickly(place)
    else:
        delete_export(export)
    assert not export.exists() and kept.read_text() == "kept"


@links
def test_forget_reports_the_target_of_a_deleted_link(place: ErasureWorld, tmp_path: Path) -> None:
    weights = place.folder / "out" / "adapter_model.safetensors"
    shutil.move(weights, tmp_path / "outside" / "far.safetensors")
    weights.symlink_to(tmp_path / "outside" / "far.safetensors")
    done = forget_quickly(place, verify=True)
    assert not (place.folder / "out").exists()
    assert [(hit.where.name, hit.what) for hit in done.left] == [
        ("far.safetensors", "weights of their adapter")
    ]


@links
@pytest.mark.parametrize("within", ["store/shards", "store/ledger", "store/metrics.jsonl"])
def test_forget_refuses_a_store_with_a_link_that_leads_out(
    place: ErasureWorld, tmp_path: Path, within: str
) -> None:
    target = tmp_path / "outside" / "target"
    link = place.folder / within
    if link.exists():
        shutil.move(link, target)
    link.symlink_to(target)
    before = read_below(target)
    with pytest.raises(IntegrityError, match="a link in this folder leads to"):
        forget_quickly(place)
    assert read_below(target) == before and ANN in read_dataset(place.data)
    # If it is not the store that was named, everything else is done, and the store is listed.
    main = place.folder / "main"
    place.personalize(main)
    forgetting = api.ForgetRequest(
        data=place.data,
        adapters=main,
        person=ANN,
        config=api.ForgetConfig(rebuild=False),
        verify=True,
    )
    done = api.forget(forgetting)
    assert any("leads to" in why for why in done.unreadable) and not done.is_complete
    assert read_below(target) == before and ANN not in read_dataset(place.data)


def read_below(path: Path) -> dict[Path, bytes]:
    """Return the content of all files below a folder, or of a file."""
    files = [path, *path.rglob("*")]
    return {file: file.read_bytes() for file in files if file.is_file()}


@pytest.mark.finding("verification")
def test_forget_lists_everything_that_an_outsider_planted(
    place: ErasureWorld, tmp_path: Path
) -> None:
    for number, plant in enumerate(PLANTS.values()):
        here = place.folder / "else" / str(number)
        outside = tmp_path / "outside" / str(number) / "below"
        for folder in (here, outside):
            folder.mkdir(parents=True)
        plant(here, outside, make_sentence(ANN, 3))
    done = forget_quickly(place, verify=True)
    places = [*(hit.where for hit in done.left), *(one.where for one in done.unsearched)]
    for number, kind in enumerate(PLANTS):
        # What a link leads to is reported where it is.
        here = (place.folder / "else" / str(number), tmp_path / "outside" / str(number))
        assert any(path.is_relative_to(folder) for path in places for folder in here), kind
    assert not done.is_complete


@pytest.mark.finding("verify-again")
def test_forget_keeps_hashes_before_anything_is_erased(
    place: ErasureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("idiolect.erasure.derived.DerivedArtifacts.erase_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            place.forget(receipt=tmp_path / "receipt.json")
    shutil.rmtree(place.data)
    write_dataset(place.data, [make_chat(BART, ANN, 3)], task="reply", source="x")
    (place.folder / "copy.txt").write_text(make_sentence(ANN, 5))
    done = place.forget(
        config=api.ForgetConfig(rebuild=False), receipt=tmp_path / "receipt.json", verify=True
    )
    assert [hit.where.name for hit in done.left if hit.where.name == "copy.txt"] == ["copy.txt"]
