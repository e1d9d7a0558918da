"""The pieces benchmark on made-up people and a tiny base."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import pieces
from docs.build import pieces as pieces_page
from docs.build import render
from idiolect.errors import UsageError
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.inference.answers import Question, answer_questions
from idiolect.inference.generator import Generator
from idiolect.models.load import load_base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.contribution import Contribution, choose_shared_modules
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.prompts.context import ContextConfig, PersonContext
from kit import time_budget as clocks
from kit.time_budget import TimeBudget, TimeIsUpError
from suites.pieces import people as who
from suites.pieces.cost import ANSWERS, EXACT, WHOLE, count_adapter_parameters, count_way_operations
from suites.pieces.growth import make_random_pool
from suites.pieces.pools import open_pool_subset
from suites.pieces.prepare import prepare_task, train_sharer_gates, train_sharers
from suites.pieces.scoring import HeldOutScorer
from suites.pieces.settings import QUICK, SEED
from suites.pieces.tune_gates import list_choice_ids
from suites.pieces.workspace import Workspace
from support.letter_encoder import make_letter_encoder
from support.tiny_people import make_rater, random_adapter, save_tiny_base

PEOPLE = 22


def make_chatter(person: str, count: int) -> History:
    """Return a person who answers a bot."""
    draw = random.Random(person)
    items = [
        Interaction(
            id=f"{person}-{n}",
            position=n,
            time=60.0 * n,
            fields={"context": f"line {draw.randint(1, 9)}", "reply": f"so {draw.randint(1, 9)}"},
        )
        for n in range(count)
    ]
    return History.from_interactions(person, items)


encode_letters = make_letter_encoder("aeiouDCW123")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use made-up people instead of real ones."""

    def load_everyone(setting: Any) -> list[History]:
        if setting.subject.task == "rating":
            return [make_rater(f"p{n:02}", 30 + n) for n in range(PEOPLE)]
        return [make_chatter(f"p{n:02}", 24 + n) for n in range(PEOPLE)]

    monkeypatch.setattr(who, "load_histories", load_everyone)
    monkeypatch.setattr(
        who, "find_unseen_people", lambda setting: {f"p{n:02}" for n in range(PEOPLE)}
    )
    monkeypatch.setattr(who, "make_encoder", lambda: encode_letters)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_tiny_base(folder / "tiny")
    return folder / "tiny"


def open_workspace(base: Path, folder: Path, task: str = "rating") -> Workspace:
    loaded = load_base(base, dtype="float32", device="cpu")
    return Workspace(name=task, base=loaded, folder=folder / task, sizes=QUICK)


@pytest.fixture
def place(world: None, base: Path, tmp_path: Path) -> Workspace:
    return open_workspace(base, tmp_path)


def test_load_people_gives_each_person_one_role_and_repeats_the_draw(
    place: Workspace, base: Path, tmp_path: Path
) -> None:
    people = place.people
    assert len(people.target_users) == QUICK.target_users
    assert all(len(h.items) == QUICK.longest_history for h in people.target_users)
    assert all(len(h.queries) == people.setting.queries for h in people.target_users)
    assert {len(some) for some in people.chosen.values()} == {QUICK.sharers}
    assert all(len(h.items) <= QUICK.history for h in people.sharers.values())
    new = {h.person for h in (*people.target_users, *people.development)}
    assert not new & set(people.sharers)
    again = open_workspace(base, tmp_path).people
    assert again == people


def test_load_people_excludes_contributors_of_the_base(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(who, "read_contributors", lambda base: ("p21", "p20"))
    people = place.people
    drawn = [h.person for h in (*people.target_users, *people.development)]
    assert not {"p21", "p20"} & {*drawn, *people.sharers}


def test_load_people_refuses_too_few_people(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(who, "read_contributors", lambda base: [f"p{n:02}" for n in range(18)])
    with pytest.raises(UsageError, match="6 target users"):
        _ = place.people


def test_prepare_task_stops_in_time_and_resumes(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fake clock that advances by one second per call: only a few groups fit into a run.
    now = [0.0]
    monkeypatch.setattr(clocks.time, "monotonic", lambda: now.__setitem__(0, now[0] + 1) or now[0])
    parts = 0
    while True:
        try:
            prepare_task(place, TimeBudget(0.2))
            break
        except TimeIsUpError:
            parts += 1
            assert parts < 50
    assert parts > 1
    # With the real clock, a further run has nothing to do.
    monkeypatch.undo()
    kept = json.loads((place.folder / "seconds.json").read_text(encoding="utf-8"))
    prepare_task(place, TimeBudget(60))
    assert json.loads((place.folder / "seconds.json").read_text(encoding="utf-8")) == kept
    assert set(place.read_adapters("own-2-2", [h.person for h in place.people.target_users])) == {
        h.person for h in place.people.target_users
    }


def test_pool_subset_assembles_like_a_pool_built_from_the_subset(
    place: Workspace, tmp_path: Path
) -> None:
    train_sharers(place, TimeBudget(60))
    train_sharer_gates(place, TimeBudget(60))
    # The view, and a real pool with the same sharers and modules.
    view = open_pool_subset(place, "cluster", count=3, ratio=0.5)
    whole = Pool.open(place.artifact_folder / "pool")
    real = Pool.create(
        tmp_path / "real", place.base, source="x", task="rating", lora=whole.lora, settings={}
    )
    entries = [
        Contribution(
            sharer=sharer,
            adapter=whole.get_adapter(sharer),
            gates={
                path: whole.load_gates(path)[whole.sharers.index(sharer)] for path in whole.sites
            },
            sites=choose_shared_modules(SEED, sharer, whole.sites, 0.5),
        )
        for sharer in view.sharers
    ]
    with real.lock_for_writing():
        real.add_sharers(entries)
    # Both must give the same recipes and, up to rounding, the same adapters.
    items = {h.person: place.build_examples(h) for h in place.people.target_users}
    config = AssembleConfig(by="gates", top_k=2)
    for one, other in zip(
        assemble_recipes(place.base, view, items, config),
        assemble_recipes(place.base, real, items, config),
        strict=True,
    ):
        assert one.sharers == other.sharers
        assert torch.equal(one.pick, other.pick)
        torch.testing.assert_close(one.weight, other.weight, atol=2e-3, rtol=0)
        adapters = build_adapter(one, view), build_adapter(other, real)
        for path, (a, b) in adapters[0].pairs.items():
            theirs = adapters[1].pairs[path]
            torch.testing.assert_close(b @ a, theirs[1] @ theirs[0], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("active", ["answer", "all"])
def test_held_out_scorer_agrees_with_the_generator(place: Workspace, active: str) -> None:
    lora = replace(place.lora, active=active)
    people = place.people.target_users
    asked = {h.person: place.build_query_examples(h) for h in people}
    adapters = {h.person: random_adapter(place.base, n, lora) for n, h in enumerate(people[1:])}
    scores = HeldOutScorer(place.base, lora, asked, choices=list_choice_ids(place)).score_adapters(
        adapters
    )
    generator = Generator(place.base, adapters)
    # The first person has no adapter.
    for n, history in enumerate(people):
        person = PersonContext(history, place.people.task, place.prompter, ContextConfig())
        questions = [Question(person=person, query=query) for query in history.queries]
        found = answer_questions(generator, place.people.task, questions, gold=True)
        golds = [float(query.fields["rating"]) for query in history.queries]
        errors = [abs(float(a.text) - g) for a, g in zip(found, golds, strict=True)]
        nats = [a.gold.nll / a.gold.tokens for a in found if a.gold]
        assert scores.mae[n] == pytest.approx(sum(errors) / len(errors))
        assert scores.nats[n] == pytest.approx(sum(nats) / len(nats), rel=1e-4)


def test_make_random_pool_writes_a_usable_pool(place: Workspace, tmp_path: Path) -> None:
    train_sharers(place, TimeBudget(60))
    train_sharer_gates(place, TimeBudget(60))
    make_random_pool(Pool.open(place.artifact_folder / "pool"), tmp_path / "many", 30)
    pool = Pool.open(tmp_path / "many")
    assert len(pool.sharers) == 30
    history = place.people.target_users[0]
    items = {history.person: place.build_examples(history)}
    (recipe,) = assemble_recipes(place.base, pool, items, AssembleConfig(by="gates"))
    assert (recipe.pick >= 0).all() and build_adapter(recipe, pool).pairs


def test_count_way_operations_agrees_with_the_throughput_benchmark(
    place: Workspace,
) -> None:
    train_sharers(place, TimeBudget(60))
    train_sharer_gates(place, TimeBudget(60))
    pool, history = Pool.open(place.artifact_folder / "pool"), place.people.target_users[0]
    counted = {
        w: count_way_operations(place, pool, w, history)
        for w in (EXACT, ANSWERS, WHOLE, "pieces 2")
    }
    # Two layers of the tiny model: attention (q, k, v, o) and MLP; two epochs.
    examples = place.build_examples(history)
    body = 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64)
    head = 32 * place.base.model.config.vocab_size
    tokens, targets = sum(len(e.ids) for e in examples), sum(e.num_targets for e in examples)
    lora = 6 * count_adapter_parameters(place) * tokens
    assert counted[EXACT] == 2 * (4 * (body * tokens + head * targets) + lora)
    assert counted[EXACT] > counted[ANSWERS] > counted[WHOLE] > 2 * counted["pieces 2"]


def test_pieces_benchmark_develops_prepares_and_measures(
    world: None, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results" / "pieces.json"
    out.parent.mkdir()
    # All stages, and a second measurement that finds everything in the work folder.
    common = ["pieces.py", "--quick", "--work", str(tmp_path / "work")]
    common += ["--base", f"rating={base}", "--base", f"reply={base}"]
    for more in (["--develop"], ["--prepare"], ["--json", str(out)], ["--json", str(out)]):
        monkeypatch.setattr(sys, "argv", [*common, *more])
        assert pieces.main() == 0
    # The result names neither folders nor people.
    text = out.read_text(encoding="utf-8")
    assert str(tmp_path) not in text and "p01" not in text
    result: Any = json.loads(text)
    assert [t["name"] for t in result["targets"] if not t["met"]][:1] == ["People on film ratings"]
    raw = result["raw"]
    assert set(raw) == {"rating", "reply"}
    assert raw["rating"]["growth"] and not raw["reply"]["growth"]
    leaks = raw["rating"]["leaks"]
    assert len(leaks) == 5 and leaks[0]["people"] == QUICK.leaking and not raw["reply"]["leaks"]
    for data in raw.values():
        assert {len(s["nats"]) for s in data["scores"].values()} == {QUICK.target_users}
        assert data["scores"]["own 6"] != data["scores"]["base"]
        assert data["scores"]["pieces 6"] != data["scores"]["pieces at random"]
        assert data["scores"]["likely 6"] != data["scores"]["base"]
        assert {t["what"] for t in data["timed"]} >= {"exact training", "pieces", "pieces 1"}
    # The page and its pictures.
    assert render.main(["--docs", str(tmp_path)]) == 0
    assert pieces_page.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "pieces.md").read_text(encoding="utf-8")
    assert (
        "the better of assembling and own training in MAE" in page
        and "images/pieces-reply.png" in page
    )
    assert (tmp_path / "images" / "pieces-rating.png").stat().st_size > 10_000


def test_pieces_benchmark_names_a_missing_base_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pieces.py", "--prepare", "--only", "reply"])
    assert pieces.main() == 2
    assert "reply=FOLDER" in capsys.readouterr().err
