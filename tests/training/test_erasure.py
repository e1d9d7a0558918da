"""Erasure from parts of sharded runs and from checkpoints; then the shard runs again."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MissingError
from idiolect.history.write import write_dataset
from idiolect.privacy.erasure import ErasureRequest
from idiolect.storage.files import read_json
from idiolect.training.erasure import AdaptationErasure, PartErasure
from idiolect.training.sharded.parts import PART_STATE_FILE, RunShard
from support.tiny_people import UNGATED, make_rater, save_tiny_base, to_tensor_bytes

PEOPLE = ("ann", "bob", "cyd", "dee")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save_tiny_base(tmp_path / "base")
    write_dataset(tmp_path / "data", [make_rater(p, 7) for p in PEOPLE], task="rating", source="x")
    for number in (1, 2):
        train(tmp_path, number)
    return tmp_path


def train(place: Path, number: int) -> None:
    api.personalize(
        api.PersonalizeRequest(
            data=place / "data",
            store=place / "store",
            base=str(place / "base"),
            config=UNGATED,
            shard=f"{number}/2",
        )
    )


def find_part(place: Path, person: str) -> tuple[int, Path]:
    """Return the number and the folder of the part with a person."""
    number = 1 if RunShard(1, 2).includes_person(person) else 2
    return number, RunShard(number, 2).get_folder(place / "store")


def test_part_erasure_removes_person_and_keeps_others(place: Path) -> None:
    number, folder = find_part(place, "ann")
    _, elsewhere = find_part(place, "bob")
    others = [p for p in AdapterStore.open(folder).people if p != "ann"]
    before = {p: to_tensor_bytes(AdapterStore.open(folder).get_adapter(p)) for p in others}
    leaving = ErasureRequest(person="ann", task="rating")
    (effect,) = PartErasure().erase(folder, leaving)
    assert (effect.outcome, effect.person) == ("removed", "ann")
    assert {p: to_tensor_bytes(AdapterStore.open(folder).get_adapter(p)) for p in others} == before
    assert not read_json(folder / PART_STATE_FILE)["finished"]
    assert (
        PartErasure().erase(folder, leaving) == []
        and PartErasure().find(place / "store", leaving) == ""
    )
    if elsewhere != folder:
        assert PartErasure().find(elsewhere, leaving) == ""
    # The part is unfinished until its shard runs again.
    with pytest.raises(MissingError, match="not finished"):
        api.merge(place / "store")
    train(place, number)
    assert api.merge(place / "store").people == len(PEOPLE)


def test_part_erasure_removes_changed_person_until_shard_runs_again(place: Path) -> None:
    number, folder = find_part(place, "bob")
    leaving = ErasureRequest(person="nobody", task="rating", affected_people=frozenset(["bob"]))
    (effect,) = PartErasure().erase(folder, leaving)
    assert (effect.outcome, effect.person) == ("discarded", "bob") and "--shard" in effect.why
    assert AdapterStore.open(folder).get_record("bob") is None
    train(place, number)
    assert AdapterStore.open(folder).get_record("bob") is not None


def test_adaptation_erasure_deletes_checkpoints(tmp_path: Path) -> None:
    leaving = ErasureRequest(person="ann")
    assert AdaptationErasure().erase(tmp_path, leaving) == []
    (tmp_path / ".film-base.adapting").write_bytes(b"numbers")
    assert AdaptationErasure().find(tmp_path, leaving)
    (effect,) = AdaptationErasure().erase(tmp_path, leaving)
    assert effect.outcome == "deleted" and not effect.where.exists()
