"""The ``assemble`` command and API: recipes for people who need one, group by group; bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import api
from idiolect.errors import MismatchError
from idiolect.events import Event, Message, Progress
from idiolect.history.dataset import read_dataset
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.pieces.assembly import assembler as module
from idiolect.pieces.assembly.assembler import Assembler
from idiolect.pieces.assembly.by_gates_reference import assemble_one
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import PromptRenderer
from support.pieces_world import (
    CONFIG,
    PEOPLE,
    PiecesWorld,
    build_pieces_world,
    load_pieces_base,
    write_people,
)
from support.run_cli import run_cli, run_cli_json
from support.sharers import make_contribution, make_sharer_id
from support.tiny_people import RATING, make_rater, save_tiny_base

ONLY_BASE = ("dee", "eve")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> PiecesWorld:
    return build_pieces_world(tmp_path_factory.mktemp("assembling"))


@pytest.fixture
def place(template: PiecesWorld, tmp_path: Path) -> PiecesWorld:
    """A copy of the world in its own folder; the base is a link."""
    for folder in (template.data, template.pool):
        shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / "base").symlink_to(template.base)
    return PiecesWorld(tmp_path)


def read_files(folder: Path) -> dict[Path, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p: p.read_bytes() for p in found}


def test_assemble_equals_assemble_one_per_person(place: PiecesWorld) -> None:
    done = place.assemble()
    assert (done.assembled, done.no_items, done.unchanged) == (PEOPLE, ONLY_BASE, ())
    assert (done.sharers, done.unusable_items) == (4, 3)
    store, pool, base = (
        RecipeStore.open(place.recipes),
        Pool.open(place.pool),
        load_pieces_base(place),
    )
    assert store.people == (*PEOPLE, *ONLY_BASE)
    for history in read_dataset(place.data).iter_histories(PEOPLE):
        context = PersonContext(
            history, RATING, PromptRenderer(base.tokenizer, CONFIG.prompt), ContextConfig()
        )
        items = [context.build_item_example(n) for n in range(len(history.items))]
        usable = [e for e in items if e is not None]
        expected = assemble_one(base, pool, history.person, usable, CONFIG.assemble)
        found, record = store.load_recipe(history.person), store.get_record(history.person)
        assert found is not None and record is not None and record.served == "adapter"
        assert (found.sharers, found.aggregate) == (expected.sharers, "delta")
        assert torch.equal(found.pick, expected.pick)
        assert torch.allclose(found.weight, expected.weight, atol=1e-3)
        assert (record.items, record.history) == (len(usable), history.compute_fingerprint())
    for person in ONLY_BASE:
        assert getattr(store.get_record(person), "served", "") == "no usable item"


def test_assemble_twice_changes_nothing(place: PiecesWorld) -> None:
    place.assemble()
    before = read_files(place.recipes)
    done = place.assemble()
    assert (done.assembled, done.unchanged) == ((), (*PEOPLE, *ONLY_BASE))
    assert done.no_items == ONLY_BASE and read_files(place.recipes) == before


def test_assemble_remakes_recipe_of_changed_history(place: PiecesWorld) -> None:
    place.assemble()
    write_people(place.data, make_rater("ann", 9), make_rater("bob", 7), make_rater("cyd", 8))
    done = place.assemble()
    assert (done.assembled, done.unchanged) == (("ann",), ("bob", "cyd", *ONLY_BASE))
    record = RecipeStore.open(place.recipes).get_record("ann")
    assert record is not None and record.items == 9
    assert len([*(place.recipes / "shards").glob("*.json")]) == 2


def test_assemble_remakes_all_for_new_settings_or_sharer(place: PiecesWorld) -> None:
    place.assemble()
    fewer = replace(CONFIG, assemble=AssembleConfig(by="gates", top_k=1))
    assert place.assemble(config=fewer).assembled == PEOPLE
    assert RecipeStore.open(place.recipes).settings["assemble"]["top_k"] == 1
    assert place.assemble(config=replace(fewer, device="auto")).assembled == ()
    pool = Pool.open(place.pool)
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, load_pieces_base(place), 9)])
    assert place.assemble(config=fewer).assembled == PEOPLE


def test_assemble_with_people_handles_only_those(place: PiecesWorld) -> None:
    assert place.assemble(people=("bob",)).assembled == ("bob",)
    assert RecipeStore.open(place.recipes).people == ("bob",)
    assert place.assemble().unchanged == ("bob",)


def make_assembler(place: PiecesWorld, **options: Any) -> Assembler:
    return Assembler(
        load_pieces_base(place), RATING, Pool.open(place.pool), CONFIG, place.recipes, **options
    )


def test_assembler_streams_histories_and_reports_progress(place: PiecesWorld) -> None:
    """When a shard is written, no later history has been read."""
    seen: list[tuple[str, int]] = []
    events: list[Event] = []

    def stream_histories() -> Iterator[History]:
        for number in range(7):
            shards = len([*(place.recipes / "shards").glob("*.json")])
            seen.append((f"p{number}", shards))
            yield make_rater(f"p{number}", 4) if number != 3 else History("p3", ())

    done = make_assembler(place, at_once=2, listener=events.append).run(
        stream_histories(), people=7
    )
    assert [shards for _, shards in seen] == [0, 0, 1, 1, 1, 2, 2]
    assert len(done.assembled) == 6 and done.no_items == ("p3",)
    progress = [e for e in events if isinstance(e, Progress)]
    assert {e.total for e in progress} == {7} and {e.stage for e in progress} == {"assemble"}
    assert [e.done for e in progress] == sorted(e.done for e in progress)
    assert not any(isinstance(e, Message) for e in events)


def test_assembler_keeps_written_groups_after_kill(
    place: PiecesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [make_rater(f"p{n}", 4) for n in range(6)]
    calls: list[tuple[str, ...]] = []
    assemble = module.assemble_recipes

    def assemble_or_die(base: Any, pool: Any, target_users: Any, *rest: Any, **options: Any) -> Any:
        calls.append(tuple(target_users))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return assemble(base, pool, target_users, *rest, **options)

    monkeypatch.setattr(module, "assemble_recipes", assemble_or_die)
    with pytest.raises(KeyboardInterrupt):
        make_assembler(place, at_once=2).run(people, people=6)
    assert RecipeStore.open(place.recipes).people == ("p0", "p1")
    done = make_assembler(place, at_once=2).run(people, people=6)
    assert calls[2:] == [("p2", "p3"), ("p4", "p5")] and done.unchanged == ("p0", "p1")


def test_assembler_with_recent_k_stops_reading_at_enough_items(place: PiecesWorld) -> None:
    """Dee's unrated films come last, so the backward scan meets them."""
    mixed = History.from_interactions("dee", [*make_rater("dee", 5).items, *make_unrated("dee", 2)])
    config = replace(CONFIG, assemble=replace(CONFIG.assemble, recent_k=3))
    run = Assembler(load_pieces_base(place), RATING, Pool.open(place.pool), config, place.recipes)
    done = run.run([mixed], people=1)
    record = RecipeStore.open(place.recipes).get_record("dee")
    assert record is not None and record.items == 3 and done.unusable_items == 2


def make_unrated(person: str, count: int) -> list[Any]:
    films = make_rater(person, 5 + count).items[5:]
    return [replace(item, fields={"title": item.fields["title"]}) for item in films]


def test_assemble_fails_if_sharer_withdraws_meanwhile(
    place: PiecesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble = module.assemble_recipes

    def assemble_and_withdraw(*arguments: Any, **options: Any) -> Any:
        recipes = assemble(*arguments, **options)
        pool = Pool.open(place.pool)
        with pool.lock_for_writing():
            pool.remove_sharers([recipes[0].sharers[0]])
        return recipes

    monkeypatch.setattr(module, "assemble_recipes", assemble_and_withdraw)
    with pytest.raises(
        MismatchError, match="a sharer withdrew while recipes were made; run the command again"
    ):
        place.assemble()
    assert not RecipeStore.open(place.recipes).people


def name_other_base(place: PiecesWorld) -> list[object]:
    save_tiny_base(place.folder / "other", seed=1)
    return ["--base", place.folder / "other"]


def corrupt_gates(place: PiecesWorld) -> list[object]:
    flip_bit(next((place.pool / "segments").glob("*.safetensors")))
    return ["--by", "gates"]


def corrupt_pieces(place: PiecesWorld) -> list[object]:
    for path in (place.pool / "pieces").iterdir():
        flip_bit(path)
    return []


def add_foreign_file(place: PiecesWorld) -> list[object]:
    (place.pool / "pieces" / "notes.txt").write_text("hello")
    return []


def remove_all_sharers(place: PiecesWorld) -> list[object]:
    pool = Pool.open(place.pool)
    with pool.lock_for_writing():
        pool.remove_sharers(pool.sharers)
    return []


def write_other_task(place: PiecesWorld) -> list[object]:
    write_dataset(
        place.data, [make_rater("ann", 5)], task="reply", source="made up", overwrite=True
    )
    return []


def assemble_from_other_pool(place: PiecesWorld) -> list[object]:
    place.assemble()
    shutil.rmtree(place.pool)
    (place.folder / "again").mkdir()
    shutil.copytree(build_pieces_world(place.folder / "again").pool, place.pool)
    return []


def flip_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def give_options(*said: object) -> Callable[[PiecesWorld], list[object]]:
    return lambda place: [*said]


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [
        (name_other_base, 1, "made for base base"),
        (corrupt_gates, 1, "changed after they were written"),
        (corrupt_pieces, 1, "missing or changed after it was written"),
        (add_foreign_file, 1, "notes.txt: a foreign file in a pool"),
        (remove_all_sharers, 2, "this pool has no sharers; share adapters first"),
        (write_other_task, 1, "made for task 'rating', but the data is for task 'reply'"),
        (assemble_from_other_pool, 1, "its recipes are for the pool that was in"),
        (give_options("--top-k", 9), 2, "top_k: 9 pieces per module, but"),
        (give_options("--by", "gates", "--top-p", 2), 2, "top_p: must be in"),
        (give_options("--top-p", 0.5), 2, "set assemble.by = 'gates'"),
        (give_options("--person", "eve"), 1, "'eve': the history is empty; the base serves them"),
        (give_options("--person", "dee"), 1, "'dee': none of 3 items has a usable answer"),
        (give_options("--person", "zoe"), 1, "no person named 'zoe' among its 5 people"),
        (
            give_options("--set", "prompt.max_tokens=5"),
            1,
            "'ann': none of 6 items has a usable answer",
        ),
    ],
)
def test_assemble_command_rejects_bad_input_without_writing(
    place: PiecesWorld,
    broken: Callable[[PiecesWorld], list[object]],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = broken(place)
    before = read_files(place.folder)
    result = run_cli(
        "assemble",
        place.data,
        "--pool",
        place.pool,
        "--out",
        place.recipes,
        *more,
        code=code,
    )
    assert result.stdout == ""
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert said in error and result.stderr.splitlines()[-1].startswith(("error: ", "try: "))
    assert read_files(place.folder) == before


def test_assemble_command_prints_counts_and_stores_settings(place: PiecesWorld) -> None:
    arguments = ["assemble", place.data, "--pool", place.pool, "--out", place.recipes]
    shown = run_cli(
        *arguments, "--top-k", 1, "--temperature", 0.5, "--recent-k", 2, "--seed", 3
    ).stdout
    lines = [line.split(maxsplit=1) for line in shown.splitlines()]
    assert lines[0] == ["assembled", "3 people"] and ["pool", "4 sharers"] in lines
    assert "base: no usable item  2 people: dee, eve" in shown
    settings = RecipeStore.open(place.recipes).settings["assemble"]
    assert settings == {
        "by": "likelihood",
        "candidates": 32,
        "top_k": 1,
        "top_p": 0.0,
        "sample": False,
        "temperature": 0.5,
        "recent_k": 2,
        "aggregate": "delta",
        "seed": 3,
    }
    again = run_cli_json(*arguments, "--by", "gates", "--top-p", 0.5, "--aggregate", "factors")
    assert again["assembled"] == [*PEOPLE] and again["no_items"] == [*ONLY_BASE]


def test_assemble_api_uses_default_config(place: PiecesWorld) -> None:
    done = api.assemble(api.AssembleRequest(data=place.data, pool=place.pool, out=place.recipes))
    assert isinstance(done, api.AssembleSummary) and done.assembled == PEOPLE
    recipe = RecipeStore.open(place.recipes).load_recipe("ann")
    assert recipe is not None and recipe.pick.shape[1] == 3
    assert {make_sharer_id(n) for n in range(4)} >= set(recipe.sharers)
