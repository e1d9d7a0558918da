"""Recipes as a source of adapters: what is served, exported, and refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from idiolect import api
from idiolect.adapters.formats.peft import load_peft
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.pieces.recipes.sources import open_source
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.storage.manifest import Manifest
from support.changed_files import change_in_place
from support.pieces_world import (
    ASKED,
    PiecesWorld,
    build_pieces_world,
    load_pieces_base,
)
from support.run_cli import run_cli, run_cli_json
from support.small_means import make_small_mean
from support.tiny_people import UNGATED, to_tensor_bytes

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
IDS = torch.arange(60, 90).view(2, 15)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> PiecesWorld:
    place = build_pieces_world(tmp_path_factory.mktemp("sources"))
    place.assemble()
    return place


@pytest.fixture
def place(template: PiecesWorld, tmp_path: Path) -> PiecesWorld:
    """A copy in another folder: the relative path from recipes to pool stays valid."""
    shutil.copytree(template.folder, tmp_path / "all")
    return PiecesWorld(tmp_path / "all")


def load_recipe(place: PiecesWorld, person: str) -> Any:
    found = RecipeStore.open(place.recipes).load_recipe(person)
    assert found is not None
    return found


@torch.no_grad()
def test_export_writes_the_recipe_adapter(place: PiecesWorld, tmp_path: Path) -> None:
    told = run_cli_json("export", place.recipes, "--person", "ann", "--out", tmp_path / "ann")
    assert told["folder"] == str(tmp_path / "ann")
    adapter = build_adapter(load_recipe(place, "ann"), Pool.open(place.pool))
    assert to_tensor_bytes(load_peft(tmp_path / "ann", load_pieces_base(place))) == to_tensor_bytes(
        adapter
    )
    model: Any = AutoModelForCausalLM.from_pretrained(place.base, dtype=torch.float32)
    bare = model(input_ids=IDS).logits
    theirs = peft.PeftModel.from_pretrained(model, str(tmp_path / "ann")).eval()(input_ids=IDS)
    base = load_pieces_base(place)
    with stack_adapters(base, [adapter]).activate(torch.zeros(2, dtype=torch.long)):
        ours = base.model(input_ids=IDS).logits
    assert (theirs.logits - ours).abs().max() <= 1e-4 < (ours - bare).abs().max()


def test_export_manifest_names_only_pool_and_sharers(place: PiecesWorld, tmp_path: Path) -> None:
    api.export(api.ExportRequest(store=place.recipes, person="ann", out=tmp_path / "ann"))
    config = Manifest.load(tmp_path / "ann", "adapter").config
    assert config["pool"] == Pool.open(place.pool).id
    assert tuple(config["sharers"]) == load_recipe(place, "ann").sharers != ()
    assert b"ann" not in b"".join(p.read_bytes() for p in (tmp_path / "ann").iterdir())
    own = tmp_path / "store"
    options = {"config": UNGATED, "base": str(place.base), "people": ("ann",)}
    api.personalize(api.PersonalizeRequest(data=place.data, store=own, **options))
    api.export(api.ExportRequest(store=own, person="ann", out=tmp_path / "own"))
    assert "sharers" not in Manifest.load(tmp_path / "own", "adapter").config


def test_predict_equals_exported_adapter(place: PiecesWorld, tmp_path: Path) -> None:
    found = run_cli_json("predict", place.recipes, "--person", "ann", "--input", ASKED)
    assert (found["served_by"], found["task"]) == ("adapter", "rating")
    api.export(api.ExportRequest(store=place.recipes, person="ann", out=tmp_path / "ann"))
    adapter = load_peft(tmp_path / "ann", load_pieces_base(place))
    store = AdapterStore.create(
        tmp_path / "store",
        load_pieces_base(place),
        source=str(place.base),
        task="rating",
        config=adapter.config,
        settings={"dtype": "float32", "device": "cpu"},
    )
    api.import_adapter(
        api.ImportAdapterRequest(folder=tmp_path / "ann", store=store.folder, person="ann")
    )
    again = api.predict(api.PredictRequest(store=store.folder, person="ann", text=ASKED))
    assert again.probabilities == pytest.approx(found["probabilities"])
    imported = AdapterStore.open(store.folder).get_record("ann")
    assert imported is not None and imported.sharers == load_recipe(place, "ann").sharers
    bob = api.predict(
        api.PredictRequest(store=place.recipes, person="bob", text=ASKED)
    ).probabilities
    assert bob != pytest.approx(again.probabilities)


def test_export_of_imported_adapter_keeps_sharers(place: PiecesWorld, tmp_path: Path) -> None:
    api.export(api.ExportRequest(store=place.recipes, person="ann", out=tmp_path / "ann"))
    adapter = load_peft(tmp_path / "ann", load_pieces_base(place))
    store = tmp_path / "store"
    AdapterStore.create(
        store,
        load_pieces_base(place),
        source=str(place.base),
        task="rating",
        config=adapter.config,
        settings={},
    )
    for person in ("x", "y"):
        api.import_adapter(
            api.ImportAdapterRequest(folder=tmp_path / "ann", store=store, person=person)
        )
    api.export(api.ExportRequest(store=store, person="x", out=tmp_path / "x"))
    api.consent(api.ConsentRequest(store=store, people=["x", "y"], scope="mean"))
    make_small_mean(store, ["x", "y"], tmp_path / "mean")
    expected = list(load_recipe(place, "ann").sharers)
    for folder in ("x", "mean"):
        assert Manifest.load(tmp_path / folder, "adapter").config["sharers"] == expected


def test_predict_serves_base_without_usable_items(place: PiecesWorld, tmp_path: Path) -> None:
    result = run_cli("predict", place.recipes, "--person", "eve", "--input", ASKED)
    assert "the base model answered" in result.stderr
    with pytest.raises(MissingError, match=r"'eve', who is served by the base .no usable item"):
        api.export(api.ExportRequest(store=place.recipes, person="eve", out=tmp_path / "eve"))
    with pytest.raises(MissingError, match=r"no person named 'zoe'.*'ann'"):
        api.predict(api.PredictRequest(store=place.recipes, person="zoe", text=ASKED))


def test_predict_finds_pool_from_any_directory(
    place: PiecesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder.parent)
    relative = Path("all/recipes")
    assert (
        api.predict(api.PredictRequest(store=relative, person="ann", text=ASKED)).served_by
        == "adapter"
    )
    assert RecipeStore.open(place.recipes).pool_source == "../pool"


def test_predict_names_moved_pool(place: PiecesWorld, tmp_path: Path) -> None:
    place.pool.rename(tmp_path / "elsewhere")
    arguments = ["predict", place.recipes, "--person", "ann", "--input", ASKED]
    assert "is not in" in (error := run_cli(*arguments, code=1).stderr) and "--pool FOLDER" in error
    assert run_cli_json(*arguments, "--pool", tmp_path / "elsewhere")["served_by"] == "adapter"
    moved = ["--pool", tmp_path / "elsewhere", "--out", tmp_path / "ann"]
    run_cli("export", place.recipes, "--person", "ann", *moved)
    other = build_pieces_world(tmp_path / "other").pool
    with pytest.raises(MismatchError, match="its recipes are for the pool that was in"):
        api.predict(api.PredictRequest(store=place.recipes, person="ann", text=ASKED, pool=other))


def test_source_refuses_recipe_of_withdrawn_sharer(place: PiecesWorld, tmp_path: Path) -> None:
    pool, gone = Pool.open(place.pool), load_recipe(place, "ann").sharers[0]
    with pool.lock_for_writing():
        pool.remove_sharers([gone])
    for use in (
        lambda: api.predict(api.PredictRequest(store=place.recipes, person="ann", text=ASKED)),
        lambda: api.export(
            api.ExportRequest(store=place.recipes, person="ann", out=tmp_path / "ann")
        ),
    ):
        with pytest.raises(MismatchError, match=rf"'ann'.*{gone}.*idiolect assemble"):
            use()
    assert not (tmp_path / "ann").exists()


def test_source_rejects_changed_or_other_files(place: PiecesWorld, tmp_path: Path) -> None:
    path = next((place.recipes / "shards").glob("*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match="changed after it was written"):
        api.predict(api.PredictRequest(store=place.recipes, person="ann", text=ASKED))
    with pytest.raises(MissingError, match=r"no adapter store there; .* idiolect personalize"):
        api.predict(api.PredictRequest(store=place.folder, person="ann", text=ASKED))


@pytest.mark.finding("changed-store")
def test_open_recipes_follow_withdrawal_and_forgetting_in_other_process(
    place: PiecesWorld,
) -> None:
    source = open_source(place.recipes)
    assert source.get_adapter("ann") is not None
    sharers = load_recipe(place, "ann").sharers
    other, pool = RecipeStore.open(place.recipes), Pool.open(place.pool)
    with pool.lock_for_writing():
        pool.remove_sharers(sharers[:1])
    with pytest.raises(MismatchError, match="make it again: idiolect assemble"):
        source.get_adapter("ann")
    with other.lock_for_writing():
        other.compact(["ann"])
    assert (source.get_record("ann"), source.get_adapter("ann")) == (None, None)
    assert "ann" not in source.people


@pytest.mark.finding("changed-store")
def test_open_recipes_serve_no_recipe_changed_after_first_look(place: PiecesWorld) -> None:
    recipes = RecipeStore.open(place.recipes)
    assert recipes.load_recipe("ann") is not None
    change_in_place(next((place.recipes / "shards").glob("*.safetensors")))
    with pytest.raises(IntegrityError, match="changed after it was written"):
        recipes.load_recipe("ann")


def test_predict_rejects_pool_for_plain_store(place: PiecesWorld, tmp_path: Path) -> None:
    options = {"config": UNGATED, "base": str(place.base), "people": ("ann",)}
    api.personalize(api.PersonalizeRequest(data=place.data, store=tmp_path / "store", **options))
    with pytest.raises(UsageError, match="not made of pieces; leave out the pool"):
        api.predict(
            api.PredictRequest(store=tmp_path / "store", person="ann", text=ASKED, pool=place.pool)
        )
