"""``personalize --private``: what is refused, what is recorded, and what a second run spends."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect import api
from idiolect.adapters.arithmetic.directions import flatten_b
from idiolect.adapters.formats.basis import DIRECTIONS_FILE, load_basis
from idiolect.adapters.lora import LoraConfig, require_lora
from idiolect.errors import IntegrityError, UsageError
from idiolect.events import Event, Message, Metrics
from idiolect.privacy.ledger import Ledger
from idiolect.prompts.context import ContextConfig
from idiolect.storage.files import sha256_file
from idiolect.training.runs.run import PersonalizeRun
from idiolect.training.schedule import TrainConfig
from support.private_world import NEW, PRIVATE, SHARED, PrivateWorld, build_private_world
from support.tiny_people import UNGATED, to_tensor_bytes

pytestmark = pytest.mark.finding("private-training")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PrivateWorld:
    return build_private_world(tmp_path_factory.mktemp("private"))


def test_personalize_private_moves_along_basis_only(world: PrivateWorld, tmp_path: Path) -> None:
    done = world.train(tmp_path / "store", people=(*NEW, "cy"))
    assert done.trained == NEW and done.too_few == ("cy",)  # 7 of at least 8 records
    basis, store = load_basis(world.basis, world.base), world.open_store(tmp_path / "store")
    for person in NEW:
        adapter = require_lora(store.get_adapter(person))  # type: ignore[arg-type]
        again = basis.move_to(basis.project(adapter))
        for path, (a, b) in adapter.pairs.items():
            assert (a == basis.mean.pairs[path][0]).all()
            assert (b - again.pairs[path][1]).abs().max() < 1e-5
        assert not (flatten_b(adapter) == flatten_b(basis.mean)).all()


def test_personalize_private_records_guarantee(world: PrivateWorld, tmp_path: Path) -> None:
    done = world.train(tmp_path / "store")
    record = world.open_store(tmp_path / "store").get_record("ann")
    assert record is not None and record.privacy == done.privacy["ann"]
    privacy = record.privacy
    assert privacy is not None
    assert (privacy.unit, privacy.epsilon, privacy.delta) == ("record", 8.0, 1e-5)
    assert (privacy.steps, privacy.rounded_count) == (2, 16)  # 9 records
    assert privacy.basis == sha256_file(world.basis / DIRECTIONS_FILE)
    assert privacy.multiplier > 0.8 and privacy.trainings == 1
    # Losses would reveal something about the records.
    assert (record.first_loss, record.last_loss, record.gate_adapter) == (0.0, 0.0, None)
    (event,) = Ledger(tmp_path / "store" / "ledger").read_entries_of("ann")
    assert event.details["private_epsilon"] == 8.0
    # A second run without changes trains no one and spends nothing.
    second = world.train(tmp_path / "store")
    assert second.unchanged == NEW and second.privacy == done.privacy


def test_personalize_private_again_adds_up(world: PrivateWorld, tmp_path: Path) -> None:
    """Another setting makes the adapter again: more is revealed, and the total says so."""
    store = tmp_path / "store"
    first = world.train(store).privacy["ann"]
    before = to_tensor_bytes(world.open_store(store).get_adapter("ann"))
    again = world.train(store, private=4.0).privacy["ann"]
    assert (again.epsilon, again.trainings) == (4.0, 2)
    assert 8 < again.total_epsilon < 12 and again.total_accuracy > first.total_accuracy
    assert to_tensor_bytes(world.open_store(store).get_adapter("ann")) != before


def test_personalize_private_says_if_person_was_trained_before_without_it(
    world: PrivateWorld, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    world.train(store, people=["ann"], config=SHARED, start=None, private=None)
    done = world.train(store, people=["ann"])
    assert done.privacy["ann"].unprotected == 1 and "not counted" in done.privacy["ann"].sentence


class StopHereError(Exception):
    """Stands for a kill."""


def test_personalize_private_after_kill_draws_new_noise_and_counts_once_more(
    world: PrivateWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the ledger and the store: nothing was released, and the event counts."""
    store = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr("idiolect.adapters.store.store.AdapterStore.add", stop_here)
        with pytest.raises(StopHereError):
            world.train(store)
    assert world.open_store(store).people == ()
    assert not [*store.glob("checkpoint*")]
    done = world.train(store)
    assert done.trained == NEW and done.privacy["ann"].trainings == 2


def stop_here(*_: Any) -> None:
    raise StopHereError


def test_personalize_private_reports_no_losses(world: PrivateWorld, tmp_path: Path) -> None:
    events: list[Event] = []
    request = api.PersonalizeRequest(
        data=world.data,
        store=tmp_path / "store",
        base=str(world.folder / "base"),
        config=PRIVATE,
        people=NEW,
        start=world.basis,
        private=8.0,
    )
    api.personalize(request, listener=events.append)
    assert not [e for e in events if isinstance(e, Metrics)]
    assert any("gate is off" in e.text for e in events if isinstance(e, Message))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"private": 0.0}, "above 0"),
    ({"private": -1.0}, "above 0"),
    ({"private": float("nan")}, "above 0"),
    ({"start": None}, "idiolect mean --directions"),
    ({"mode": "continue"}, "leave out continue"),
    ({"shard": "1/2"}, "leave out shard"),
    ({"ray": "local"}, "leave out shard"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_personalize_private_refuses_what_breaks_the_guarantee(
    world: PrivateWorld, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        world.train(tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": ContextConfig(retrieval="bm25", k=2)}, "leave out --retrieval"),
        ({"context": ContextConfig(profile=True)}, "leave out --retrieval and --profiles"),
        ({"last_items": 5}, "last_items"),
    ],
)
def test_personal_config_keeps_records_apart_in_private_training(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        replace(PRIVATE, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": TrainConfig(epochs=1)}, "leave out --rate, --epochs"),
        ({"train": TrainConfig(seed=1)}, "its noise has no seed"),
        ({"lora": LoraConfig(rank=3)}, "leave out --rank"),
    ],
)
def test_personalize_private_refuses_settings_that_it_would_ignore(
    world: PrivateWorld, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        world.train(tmp_path / "store", config=replace(PRIVATE, **settings))
    assert not (tmp_path / "store").exists()


def test_personalize_private_refuses_long_history_for_its_delta(
    world: PrivateWorld, tmp_path: Path
) -> None:
    assert PRIVATE.private is not None
    config = replace(PRIVATE, private=replace(PRIVATE.private, delta=0.02))
    with pytest.raises(UsageError, match=r"1 / \(10 \* records\)"):
        world.train(tmp_path / "store", config=config)
    assert world.open_store(tmp_path / "store").people == ()


def test_personalize_private_refuses_folder_without_directions_and_changed_ones(
    world: PrivateWorld, tmp_path: Path
) -> None:
    world.make_mean(tmp_path / "mean")
    with pytest.raises(UsageError, match="no basis"):
        world.train(tmp_path / "store", start=tmp_path / "mean")
    shutil.copytree(world.basis, tmp_path / "changed")
    file = tmp_path / "changed" / DIRECTIONS_FILE
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(IntegrityError, match=DIRECTIONS_FILE):
        world.train(tmp_path / "store", start=tmp_path / "changed")


def test_personalize_run_refuses_other_basis_than_settings(
    world: PrivateWorld, tmp_path: Path
) -> None:
    """As after a change of the folder between a run and the repair of its store."""
    world.train(tmp_path / "store")
    settings = json.loads((tmp_path / "store" / "store.json").read_text())
    assert settings["content"]["settings"]["private"]["basis"]
    config = replace(UNGATED, private=replace(PRIVATE.private, basis="0" * 64))  # type: ignore[type-var]
    request = api.PersonalizeRequest(
        data=world.data,
        store=tmp_path / "other",
        base=str(world.folder / "base"),
        config=replace(config, start=sha256_file(world.basis / "adapter_model.safetensors")),
        start=world.basis,
    )
    with pytest.raises(UsageError, match="the directions"):
        PersonalizeRun(request)


def test_basis_is_also_an_initial_adapter(world: PrivateWorld, tmp_path: Path) -> None:
    done = world.train(tmp_path / "store", private=None, config=UNGATED)
    assert done.trained == NEW and not done.privacy


def test_personalize_private_refuses_people_of_the_basis(world: PrivateWorld) -> None:
    before = world.open_store(world.store).get_record("d1")
    with pytest.raises(UsageError, match=r"the adapters of 1 of these people, e\.g\. 'd1'"):
        world.train(world.store, people=["ann", "d1"])
    assert world.open_store(world.store).get_record("d1") == before
