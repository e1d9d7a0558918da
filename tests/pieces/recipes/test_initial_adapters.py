"""Personal training that starts from pieces: where it starts, what is named, who is refused."""

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
    run_cli,
    run_cli_json,
    write_people,
)
from support.sharers import LORA
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


def train(place: PiecesWorld, store: str = "store", **options: Any) -> Any:
    given: dict[str, Any] = {
        "config": TRAINED,
        "base": str(place.base),
        "pieces": place.recipes,
    } | options
    return api.personalize(
        api.PersonalizeRequest(data=place.data, store=place.folder / store, **given)
    )


def opened(place: PiecesWorld, store: str = "store") -> AdapterStore:
    return AdapterStore.open(place.folder / store)


def record_of(place: PiecesWorld, person: str) -> AdapterRecord:
    found = opened(place).get_record(person)
    assert found is not None
    return found


def recipe_of(place: PiecesWorld, person: str) -> Any:
    found = RecipeStore.open(place.recipes).load_recipe(person)
    assert found is not None
    return found


def without(place: PiecesWorld, sharer: str) -> None:
    pool = Pool.open(place.pool)
    with pool.lock_for_writing():
        pool.remove_sharers([sharer])


def test_everyone_starts_from_what_their_recipe_makes(place: PiecesWorld) -> None:
    done = train(place, config=STILL)
    assert (done.trained, done.too_few) == (PEOPLE, ("dee", "eve"))
    store, pool = opened(place), Pool.open(place.pool)
    for person in PEOPLE:
        adapter, start = store.get_adapter(person), build_adapter(recipe_of(place, person), pool)
        assert adapter is not None and adapter.config.is_same_kind(start.config)
        pairs = require_lora(adapter).pairs
        for path, (a, b) in start.pairs.items():
            assert torch.allclose(pairs[path][0], a, atol=1e-9)
            assert torch.allclose(pairs[path][1], b, atol=1e-9)
    moved = train(place, "moved")
    assert moved.trained == PEOPLE
    assert to_tensor_bytes(opened(place, "moved").get_adapter("ann")) != to_tensor_bytes(
        store.get_adapter("ann")
    )


def test_pool_and_sharers_are_named(place: PiecesWorld, tmp_path: Path) -> None:
    train(place)
    pool = Pool.open(place.pool)
    assert opened(place).settings["pool"] == {
        "id": pool.id,
        "source": "../pool",
        "recipes": "../recipes",
    }
    for person in PEOPLE:
        assert record_of(place, person).sharers == recipe_of(place, person).sharers != ()
    assert record_of(place, "eve").sharers == ()
    api.export(api.ExportRequest(store=place.folder / "store", person="ann", out=tmp_path / "ann"))
    config = Manifest.load(tmp_path / "ann", "adapter").config
    assert (config["pool"], tuple(config["sharers"])) == (pool.id, record_of(place, "ann").sharers)


def test_again_nobody_is_trained_unless_their_recipe_changed(place: PiecesWorld) -> None:
    train(place)
    assert train(place).unchanged == ALL
    elsewhere = place.folder.with_name("elsewhere")
    place.folder.rename(elsewhere)
    place = PiecesWorld(elsewhere)
    assert train(place, base=str(place.base)).unchanged == ALL
    fewer = replace(CONFIG, assemble=AssembleConfig(by="gates", top_k=1))
    place.assemble(config=fewer, people=("bob",))
    done = train(place)
    assert (done.trained, done.unchanged) == (("bob",), ("ann", "cyd", "dee", "eve"))


def test_a_recipe_made_again_to_the_same_end_changes_nothing(place: PiecesWorld) -> None:
    """With other settings that come to the same pieces and weights."""
    train(place)
    same = replace(CONFIG, assemble=replace(CONFIG.assemble, seed=9))
    assert place.assemble(config=same).assembled == PEOPLE
    assert train(place).unchanged == ALL


def test_going_on_keeps_the_sharers(place: PiecesWorld) -> None:
    train(place)
    before = record_of(place, "ann").sharers
    write_people(place.data, make_rater("ann", 12), make_rater("bob", 7), make_rater("cyd", 8))
    assert train(place, mode="continue").trained == ("ann",)
    assert record_of(place, "ann").sharers == before and record_of(place, "ann").items == 12
    without(place, before[0])
    write_people(place.data, make_rater("ann", 15), make_rater("bob", 7), make_rater("cyd", 8))
    place.assemble()
    with pytest.raises(MismatchError, match=rf"the adapter of 'ann'.*{before[0]}"):
        train(place, mode="continue", people=("ann",))


def test_one_that_does_not_help_is_made_of_nobody(
    place: PiecesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate keeps no adapter of those whom it does not help."""

    def worse(base: Any, examples: Any, adapters: Any, **_: Any) -> dict[str, float]:
        return dict.fromkeys(examples, 2.0 if adapters else 1.0)

    monkeypatch.setattr("idiolect.training.runs.personalize.compute_mean_losses", worse)
    done = train(place, config=replace(TRAINED, gate=api.PersonalConfig().gate, least_items=1))
    assert done.gated_off == PEOPLE
    assert all(record_of(place, person).sharers == () for person in PEOPLE)


def test_in_shards_it_is_the_same(place: PiecesWorld) -> None:
    train(place)
    for shard in ("1/2", "2/2"):
        train(place, "parts", shard=shard)
    api.merge(place.folder / "parts")
    for person in PEOPLE:
        one, other = opened(place).get_adapter(person), opened(place, "parts").get_adapter(person)
        assert one is not None and other is not None
        ours, theirs = require_lora(one).pairs, require_lora(other).pairs
        for path in ours:
            assert torch.allclose(ours[path][1], theirs[path][1], atol=1e-6)
    merged = opened(place, "parts").get_record("ann")
    assert merged is not None and merged.sharers == record_of(place, "ann").sharers


def test_recipes_of_different_width_make_one_kind(place: PiecesWorld) -> None:
    """The widest decides; narrower ones are padded and do the same."""
    wide = replace(CONFIG, assemble=AssembleConfig(by="gates", top_p=1.0))
    place.assemble(config=wide, people=("ann",))
    base, pool = load_pieces_base(place), Pool.open(place.pool)
    train(place, config=replace(STILL, lora=api.PersonalConfig().lora))
    for person in ("ann", "bob"):
        adapter, start = (
            opened(place).get_adapter(person),
            build_adapter(recipe_of(place, person), pool),
        )
        assert adapter is not None
        adapter = require_lora(adapter.check_matches_base(base))
        for path, (a, b) in start.pairs.items():
            ours = adapter.pairs[path][1] @ adapter.pairs[path][0] * adapter.config.scale
            assert torch.allclose(ours, b @ a * start.config.scale, atol=1e-6)


def test_who_was_not_assembled_is_named_and_nobody_trained(place: PiecesWorld) -> None:
    write_people(place.data, *(make_rater(p, 6) for p in (*PEOPLE, "zoe")))
    with pytest.raises(MissingError, match=r"no recipe of 'zoe'.*idiolect assemble"):
        train(place)
    assert not (place.folder / "store" / "shards").exists()
    assert train(place, people=("ann",)).trained == ("ann",)


def test_who_has_items_only_since_is_refused(place: PiecesWorld) -> None:
    people = [make_rater(p, 6) for p in PEOPLE]
    now = [*people, make_rater("dee", 7)]
    write_dataset(place.data, now, task="rating", source="made up", overwrite=True)
    with pytest.raises(MissingError, match=r"'dee' had no usable item when.*assemble them again"):
        train(place, people=("dee",))


def test_a_recipe_of_a_withdrawn_sharer_is_no_start(place: PiecesWorld) -> None:
    gone = recipe_of(place, "ann").sharers[0]
    without(place, gone)
    with pytest.raises(MismatchError, match=r"the recipe of 'ann'.*idiolect assemble"):
        train(place)
    assert not (place.folder / "store" / "shards").exists()


def test_an_adapter_of_a_withdrawn_sharer_is_not_used(place: PiecesWorld, tmp_path: Path) -> None:
    train(place)
    store, gone = place.folder / "store", record_of(place, "ann").sharers[0]
    assert (
        api.predict(api.PredictRequest(store=store, person="ann", text=ASKED)).served_by
        == "adapter"
    )
    without(place, gone)
    api.consent(api.ConsentRequest(store=store, people=["ann"], scope="mean"))
    for verb in (
        lambda: api.predict(api.PredictRequest(store=store, person="ann", text=ASKED)),
        lambda: api.export(api.ExportRequest(store=store, person="ann", out=tmp_path / "ann")),
        lambda: api.mean(store, ["ann"], tmp_path / "mean"),
    ):
        with pytest.raises(MismatchError, match=rf"'ann' is made of pieces of sharer {gone}"):
            verb()
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


def test_what_is_made_of_others_pieces_is_not_theirs_to_share(place: PiecesWorld) -> None:
    train(place)
    store = place.folder / "store"
    api.consent(api.ConsentRequest(store=store, people=["ann"], scope="pieces"))
    with pytest.raises(MissingError, match="'ann' cannot share: an adapter made of others' pieces"):
        api.share(
            api.ShareRequest(
                store=store, data=place.data, pool=place.folder / "second", people=["ann"]
            )
        )
    assert not (place.folder / "second").exists()


def test_other_kinds_and_other_starts_are_refused(place: PiecesWorld, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"of their kind \(rank 8.*asked for is rank 2"):
        train(place, config=UNGATED)
    with pytest.raises(UsageError, match="from one adapter or from pieces"):
        train(place, start=tmp_path)
    with pytest.raises(MissingError, match="no store of recipes there"):
        train(place, pieces=tmp_path)
    assert not (place.folder / "store").exists()
    train(place)
    with pytest.raises(UsageError, match=r"starts from the recipes in .*recipes; name them"):
        train(place, pieces=None)
    factors = replace(CONFIG, assemble=replace(CONFIG.assemble, aggregate="factors"))
    place.assemble(config=factors, people=("bob",))
    with pytest.raises(MismatchError, match="recipes of two kinds"):
        train(place)


def test_the_command_takes_recipes(place: PiecesWorld) -> None:
    asked = ["personalize", place.data, "--store", place.folder / "store", "--base", place.base]
    done = run_cli_json(*asked, "--pieces", place.recipes, "--no-gate", "--epochs", 1)
    assert done["trained"] == [*PEOPLE]
    assert record_of(place, "cyd").sharers == recipe_of(place, "cyd").sharers
    wrong = run_cli(*asked, "--pieces", place.recipes, "--rank", 4, code=2)
    assert "leave lora settings out" in wrong.stderr and wrong.stdout == ""
