"""Personal training that starts from pieces: the initial adapters, the recorded sharers,
refusals."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import api
from idiolect.adapters.lora import require_lora
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.history.write import write_dataset
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.pieces.recipes.sources import open_source
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.storage.manifest import Manifest
from support.pieces_world import (
    ASKED,
    CONFIG,
    PEOPLE,
    PiecesWorld,
    build_pieces_world,
    load_pieces_base,
    write_people,
)
from support.run_cli import run_cli, run_cli_json
from support.sharers import LORA
from support.small_means import make_small_mean
from support.tiny_people import UNGATED, make_rater, to_tensor_bytes

TRAINED = replace(UNGATED, lora=replace(LORA, rank=8, alpha=8.0))
STILL = replace(TRAINED, train=replace(UNGATED.train, rate=1e-12))
ALL = (*PEOPLE, "dee", "eve")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> PiecesWorld:
    place = build_pieces_world(tmp_path_factory.mktemp("starts"))
    place.assemble()
    return place


@pytest.fixture
def place(template: PiecesWorld, tmp_path: Path) -> PiecesWorld:
    shutil.copytree(template.folder, tmp_path / "all")
    return PiecesWorld(tmp_path / "all")


def personalize(place: PiecesWorld, store: str = "store", **options: Any) -> Any:
    given: dict[str, Any] = {
        "config": TRAINED,
        "base": str(place.base),
        "pieces": place.recipes,
    } | options
    return api.personalize(
        api.PersonalizeRequest(data=place.data, store=place.folder / store, **given)
    )


def open_adapters(place: PiecesWorld, store: str = "store") -> AdapterStore:
    return AdapterStore.open(place.folder / store)


def get_record(place: PiecesWorld, person: str) -> AdapterRecord:
    found = open_adapters(place).get_record(person)
    assert found is not None
    return found


def load_recipe(place: PiecesWorld, person: str) -> Any:
    found = RecipeStore.open(place.recipes).load_recipe(person)
    assert found is not None
    return found


def remove_sharer(place: PiecesWorld, sharer: str) -> None:
    pool = Pool.open(place.pool)
    with pool.lock_for_writing():
        pool.remove_sharers([sharer])


def test_personalize_starts_from_recipe_adapters(place: PiecesWorld) -> None:
    done = personalize(place, config=STILL)
    assert (done.trained, done.too_few) == (PEOPLE, ("dee", "eve"))
    store, pool = open_adapters(place), Pool.open(place.pool)
    for person in PEOPLE:
        adapter, start = store.get_adapter(person), build_adapter(load_recipe(place, person), pool)
        assert adapter is not None and adapter.config.is_same_kind(start.config)
        pairs = require_lora(adapter).pairs
        for path, (a, b) in start.pairs.items():
            assert torch.allclose(pairs[path][0], a, atol=1e-9)
            assert torch.allclose(pairs[path][1], b, atol=1e-9)
    moved = personalize(place, "moved")
    assert moved.trained == PEOPLE
    assert to_tensor_bytes(open_adapters(place, "moved").get_adapter("ann")) != to_tensor_bytes(
        store.get_adapter("ann")
    )


def test_personalize_records_pool_and_sharers(place: PiecesWorld, tmp_path: Path) -> None:
    personalize(place)
    pool = Pool.open(place.pool)
    assert open_adapters(place).settings["pool"] == {
        "id": pool.id,
        "source": "../pool",
        "recipes": "../recipes",
    }
    for person in PEOPLE:
        assert get_record(place, person).sharers == load_recipe(place, person).sharers != ()
    assert get_record(place, "eve").sharers == ()
    api.export(api.ExportRequest(store=place.folder / "store", person="ann", out=tmp_path / "ann"))
    config = Manifest.load(tmp_path / "ann", "adapter").config
    assert (config["pool"], tuple(config["sharers"])) == (pool.id, get_record(place, "ann").sharers)


def test_personalize_again_trains_only_changed_recipes(place: PiecesWorld) -> None:
    personalize(place)
    assert personalize(place).unchanged == ALL
    elsewhere = place.folder.with_name("elsewhere")
    place.folder.rename(elsewhere)
    place = PiecesWorld(elsewhere)
    assert personalize(place, base=str(place.base)).unchanged == ALL
    fewer = replace(CONFIG, assemble=AssembleConfig(by="gates", top_k=1))
    place.assemble(config=fewer, people=("bob",))
    done = personalize(place)
    assert (done.trained, done.unchanged) == (("bob",), ("ann", "cyd", "dee", "eve"))


def test_personalize_skips_recipe_remade_with_same_pieces(place: PiecesWorld) -> None:
    """With other settings that give the same pieces and weights."""
    personalize(place)
    same = replace(CONFIG, assemble=replace(CONFIG.assemble, seed=9))
    assert place.assemble(config=same).assembled == PEOPLE
    assert personalize(place).unchanged == ALL


def test_personalize_continue_keeps_sharers(place: PiecesWorld) -> None:
    personalize(place)
    before = get_record(place, "ann").sharers
    write_people(place.data, make_rater("ann", 12), make_rater("bob", 7), make_rater("cyd", 8))
    assert personalize(place, mode="continue").trained == ("ann",)
    assert get_record(place, "ann").sharers == before and get_record(place, "ann").items == 12
    remove_sharer(place, before[0])
    write_people(place.data, make_rater("ann", 15), make_rater("bob", 7), make_rater("cyd", 8))
    place.assemble()
    with pytest.raises(MismatchError, match=rf"the adapter of 'ann'.*{before[0]}"):
        personalize(place, mode="continue", people=("ann",))


def test_personalize_gated_off_records_no_sharers(
    place: PiecesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holdout gate drops the adapters that do not help."""

    def return_worse_loss(base: Any, examples: Any, adapters: Any, **_: Any) -> dict[str, float]:
        return dict.fromkeys(examples, 2.0 if adapters else 1.0)

    monkeypatch.setattr("idiolect.training.runs.personalize.compute_mean_losses", return_worse_loss)
    done = personalize(
        place, config=replace(TRAINED, gate=api.PersonalConfig().gate, least_items=1)
    )
    assert done.gated_off == PEOPLE
    assert all(get_record(place, person).sharers == () for person in PEOPLE)


def test_personalize_in_shards_equals_one_run(place: PiecesWorld) -> None:
    personalize(place)
    for shard in ("1/2", "2/2"):
        personalize(place, "parts", shard=shard)
    api.merge(place.folder / "parts")
    for person in PEOPLE:
        one, other = (
            open_adapters(place).get_adapter(person),
            open_adapters(place, "parts").get_adapter(person),
        )
        assert one is not None and other is not None
        ours, theirs = require_lora(one).pairs, require_lora(other).pairs
        for path in ours:
            assert torch.allclose(ours[path][1], theirs[path][1], atol=1e-6)
    merged = open_adapters(place, "parts").get_record("ann")
    assert merged is not None and merged.sharers == get_record(place, "ann").sharers


def test_personalize_pads_recipes_to_one_rank(place: PiecesWorld) -> None:
    """The widest recipe sets the rank; narrower ones are padded and give the same update."""
    wide = replace(CONFIG, assemble=AssembleConfig(by="gates", top_p=1.0))
    place.assemble(config=wide, people=("ann",))
    base, pool = load_pieces_base(place), Pool.open(place.pool)
    personalize(place, config=replace(STILL, lora=api.PersonalConfig().lora))
    for person in ("ann", "bob"):
        adapter, start = (
            open_adapters(place).get_adapter(person),
            build_adapter(load_recipe(place, person), pool),
        )
        assert adapter is not None
        adapter = require_lora(adapter.check_matches_base(base))
        for path, (a, b) in start.pairs.items():
            ours = adapter.pairs[path][1] @ adapter.pairs[path][0] * adapter.config.scale
            assert torch.allclose(ours, b @ a * start.config.scale, atol=1e-6)


def test_personalize_names_people_without_recipe(place: PiecesWorld) -> None:
    write_people(place.data, *(make_rater(p, 6) for p in (*PEOPLE, "zoe")))
    with pytest.raises(MissingError, match=r"no recipe for 'zoe'.*idiolect assemble"):
        personalize(place)
    assert not (place.folder / "store" / "shards").exists()
    assert personalize(place, people=("ann",)).trained == ("ann",)


def test_personalize_rejects_recipe_made_without_items(place: PiecesWorld) -> None:
    people = [make_rater(p, 6) for p in PEOPLE]
    now = [*people, make_rater("dee", 7)]
    write_dataset(place.data, now, task="rating", source="made up", overwrite=True)
    with pytest.raises(MissingError, match=r"'dee' had no usable item when.*assemble them again"):
        personalize(place, people=("dee",))


def test_personalize_rejects_recipe_of_withdrawn_sharer(place: PiecesWorld) -> None:
    gone = load_recipe(place, "ann").sharers[0]
    remove_sharer(place, gone)
    with pytest.raises(MismatchError, match=r"the recipe of 'ann'.*idiolect assemble"):
        personalize(place)
    assert not (place.folder / "store" / "shards").exists()


def test_store_refuses_adapter_of_withdrawn_sharer(place: PiecesWorld, tmp_path: Path) -> None:
    personalize(place)
    store, gone = place.folder / "store", get_record(place, "ann").sharers[0]
    assert (
        api.predict(api.PredictRequest(store=store, person="ann", text=ASKED)).served_by
        == "adapter"
    )
    remove_sharer(place, gone)
    api.consent(api.ConsentRequest(store=store, people=["ann"], scope="mean"))
    for use in (
        lambda: api.predict(api.PredictRequest(store=store, person="ann", text=ASKED)),
        lambda: api.export(api.ExportRequest(store=store, person="ann", out=tmp_path / "ann")),
        lambda: make_small_mean(store, ["ann"], tmp_path / "mean"),
    ):
        with pytest.raises(MismatchError, match=rf"'ann' is made of pieces of sharer {gone}"):
            use()
    assert (
        api.predict(api.PredictRequest(store=store, person="eve", text=ASKED)).served_by == "base"
    )
    place.pool.rename(tmp_path / "pool")
    assert (
        api.predict(api.PredictRequest(store=store, person="ann", text=ASKED)).served_by
        == "adapter"
    )
    with pytest.raises(MismatchError, match=gone):
        open_source(store, tmp_path / "pool").get_adapter("ann")


def test_share_rejects_adapter_made_of_pieces(place: PiecesWorld) -> None:
    personalize(place)
    store = place.folder / "store"
    api.consent(api.ConsentRequest(store=store, people=["ann"], scope="pieces"))
    with pytest.raises(
        MissingError, match="'ann' cannot share: the adapter is made of other people's pieces"
    ):
        api.share(
            api.ShareRequest(
                store=store, data=place.data, pool=place.folder / "second", people=["ann"]
            )
        )
    assert not (place.folder / "second").exists()


def test_personalize_rejects_other_kinds_and_starts(place: PiecesWorld, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"have their kind \(rank 8.*but rank 2.* was requested"):
        personalize(place, config=UNGATED)
    with pytest.raises(UsageError, match="start from one adapter, or from pieces"):
        personalize(place, start=tmp_path)
    with pytest.raises(MissingError, match="no store of recipes there"):
        personalize(place, pieces=tmp_path)
    assert not (place.folder / "store").exists()
    personalize(place)
    with pytest.raises(UsageError, match=r"starts from the recipes in .*recipes; pass them"):
        personalize(place, pieces=None)
    factors = replace(CONFIG, assemble=replace(CONFIG.assemble, aggregate="factors"))
    place.assemble(config=factors, people=("bob",))
    with pytest.raises(MismatchError, match="recipes of two kinds"):
        personalize(place)


def test_personalize_command_takes_recipes(place: PiecesWorld) -> None:
    arguments = ["personalize", place.data, "--store", place.folder / "store", "--base", place.base]
    done = run_cli_json(*arguments, "--pieces", place.recipes, "--no-gate", "--epochs", 1)
    assert done["trained"] == [*PEOPLE]
    assert get_record(place, "cyd").sharers == load_recipe(place, "cyd").sharers
    wrong = run_cli(*arguments, "--pieces", place.recipes, "--rank", 4, code=2)
    assert "leave out the lora settings" in wrong.stderr and wrong.stdout == ""
