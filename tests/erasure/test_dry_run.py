"""A dry run of ``forget`` lists exactly what the real run does, and changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect import api
from idiolect.adapters.lora import LoraConfig
from idiolect.erasure.forget import ForgetConfig
from idiolect.history.write import write_dataset
from idiolect.pieces.pool.pool import Pool
from support.erasure_world import (
    ANN,
    BART,
    CONFIG,
    CRESS,
    DORA,
    ErasureWorld,
    build_full_world,
    copy_world,
    make_chat,
    make_histories,
    make_sentence,
)

FROM_PIECES = replace(CONFIG, lora=LoraConfig())
"""The kind of the adapters follows the recipes."""
pytestmark = pytest.mark.finding("dry-run-effects")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ErasureWorld:
    place = build_full_world(tmp_path_factory.mktemp("full") / "world")
    # Adapters that start from the recipes of the pool, and one of them exported.
    place.personalize(
        place.folder / "from-pieces", pieces=place.folder / "recipes", config=FROM_PIECES
    )
    export = api.ExportRequest(
        store=place.folder / "from-pieces", person=DORA, out=place.folder / "out" / "of-pieces"
    )
    api.export(export)
    # A cache of an evaluation: a base with its task adapter, and answers.
    shutil.copytree(place.folder / "adapted", place.folder / "work" / "base-0123456789abcdef")
    (place.folder / "work" / "answers").mkdir()
    text = make_sentence(ANN, 3)
    (place.folder / "work" / "answers" / "a.json").write_text(f'{{"{ANN}": "{text}"}}')
    # An adaptation that was killed.
    (place.folder / ".next.adapting").write_bytes(b"numbers")
    # A part of a sharded run, and a cache of adapters, which has no ledger.
    part = place.folder / "copies" / "parts" / "00001-of-00002"
    shutil.copytree(place.store, part)
    shutil.rmtree(part / "ledger")
    shutil.copytree(place.folder / "from-other", place.folder / "cache")
    shutil.rmtree(place.folder / "cache" / "ledger")
    return place


def list_all(receipt: Any, root: Path) -> list[tuple[Any, ...]]:
    """Return every field of every effect, with paths relative to the world."""
    return [
        (e.what, str(e.where.relative_to(root)), e.outcome, e.person, e.count, e.why)
        for e in receipt.effects
    ]


def change_nothing(place: ErasureWorld) -> None:
    """Leave the world as it is."""


def add_second_dataset(place: ErasureWorld) -> None:
    """Add an older copy of the data, and a dataset in which she only speaks."""
    write_dataset(place.folder / "old", make_histories(), task="reply", source="x")
    write_dataset(place.folder / "spoken", [make_chat(BART, ANN, 6)], task="reply", source="x")
    place.personalize(place.folder / "from-spoken", data=place.folder / "spoken")


def withdraw_pieces(place: ErasureWorld) -> None:
    """Let everyone withdraw from the pool first."""
    pool = place.folder / "pool"
    request = api.WithdrawRequest(
        pool=pool, sharers=Pool.open(pool).sharers, data=place.data, within=(place.folder,)
    )
    api.withdraw(request)


def move_base_away(place: ErasureWorld) -> None:
    """Remove the link to the base: nothing can be trained."""
    (place.folder / "base").unlink()


def forget_other_first(place: ErasureWorld) -> None:
    place.forget(DORA)


def add_voice(place: ErasureWorld) -> None:
    """Let Bartholomew chat with a person who has no history of her own."""
    chats = [make_chat(BART, "zoe", 6), make_chat(CRESS, DORA, 11)]
    write_dataset(place.data, chats, task="reply", source="x", overwrite=True)
    place.personalize(place.store, allow_older=True)


def delete_start(place: ErasureWorld) -> None:
    """Delete the mean that adapters started from."""
    shutil.rmtree(place.folder / "out" / "other-mean")


CASES: dict[str, tuple[Callable[[ErasureWorld], None], dict[str, Any]]] = {
    "person": (change_nothing, {}),
    "record": (change_nothing, {"records": (f"{ANN}-4",)}),
    "query": (change_nothing, {"records": (f"{ANN}-8",)}),
    "sharer": (change_nothing, {"person": CRESS}),
    "not a sharer": (change_nothing, {"person": BART}),
    "no rebuilding": (change_nothing, {"config": ForgetConfig(rebuild=False)}),
    "no suppression": (change_nothing, {"config": ForgetConfig(suppress=False)}),
    "profiles": (change_nothing, {"profiles": "profiles"}),
    "second dataset": (add_second_dataset, {}),
    "record in two datasets": (add_second_dataset, {"records": (f"{ANN}-4",)}),
    "withdrawn": (withdraw_pieces, {}),
    "no base": (move_base_away, {}),
    "second person": (forget_other_first, {}),
    "voice only": (add_voice, {"person": "zoe"}),
    "no start": (delete_start, {"person": BART}),
}


QUICK_CASES = ("person", "record", "sharer", "second dataset", "voice only", "no start")


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in QUICK_CASES else pytest.mark.slow) for c in CASES],
)
def test_forget_dry_run_has_the_effects_of_the_run(
    template: ErasureWorld, tmp_path: Path, case: str
) -> None:
    prepare, options = CASES[case]
    place = copy_world(template, tmp_path / "world")
    prepare(place)
    if "profiles" in options:
        options = options | {"profiles": place.folder / options["profiles"]}
    before = place.read_files()
    preview = place.forget(dry_run=True, within=(place.folder,), **options)
    assert place.read_files() == before
    done = place.forget(within=(place.folder,), **options)
    assert list_all(preview, place.folder) == list_all(done, place.folder) != []
    assert preview.unreadable == done.unreadable
