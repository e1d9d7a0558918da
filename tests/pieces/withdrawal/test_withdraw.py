"""Withdrawal: a sharer's bytes are gone from the pool and from all that was made of the pieces."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import api
from idiolect.adapters.formats.peft import load_peft
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import to_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.history.write import write_dataset
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.pieces.recipes.shard import RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.sharing.pool_ledger import PoolLedger
from idiolect.pieces.withdrawal.remake import Rebuilder
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import write_json
from idiolect.storage.manifest import Manifest
from support.crash import fail_at
from support.pieces_world import (
    ASKED,
    PEOPLE,
    PiecesWorld,
    build_pieces_world,
    load_pieces_base,
)
from support.run_cli import run_cli, run_cli_json
from support.sharers import LORA, make_sharer_id
from support.tiny_people import UNGATED, make_rater, to_tensor_bytes

GONE, STAYS = make_sharer_id(0), make_sharer_id(3)
STILL = replace(
    UNGATED,
    lora=replace(LORA, rank=8, alpha=8.0),
    train=replace(UNGATED.train, rate=1e-12),
)
"""Training that changes nothing, so that the pieces would be found in its result."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> PiecesWorld:
    """Recipes, adapters trained from them, exported adapters, an imported one, and a report. Also
    the store of Sam, the sharer who withdraws, and Ned, who stays."""
    place = build_pieces_world(tmp_path_factory.mktemp("withdraw") / "all")
    place.assemble()
    folder, base, pool = place.folder, load_pieces_base(place), Pool.open(place.pool)
    recipes = RecipeStore.open(place.recipes)
    with recipes.lock_for_writing():
        only = torch.zeros(len(pool.sites), 1, dtype=torch.long)
        recipe = Recipe(
            person="zed",
            sharers=(STAYS,),
            pick=only,
            weight=torch.ones(len(pool.sites), 1),
            aggregate="delta",
        )
        recipes.add_recipes([(RecipeRecord(person="zed", made_by="by hand", items=3), recipe)])
    api.personalize(
        api.PersonalizeRequest(
            data=place.data,
            store=folder / "oppu",
            base=str(place.base),
            config=STILL,
            pieces=place.recipes,
        )
    )
    api.export(api.ExportRequest(store=place.recipes, person="ann", out=folder / "out" / "recipe"))
    api.export(api.ExportRequest(store=place.recipes, person="zed", out=folder / "out" / "zed"))
    api.export(api.ExportRequest(store=folder / "oppu", person="bob", out=folder / "out" / "oppu"))
    adapter = load_peft(folder / "out" / "recipe", base)
    AdapterStore.create(
        folder / "imported",
        base,
        source=str(place.base),
        task="rating",
        config=adapter.config,
        settings=to_plain(replace(UNGATED, lora=adapter.config)),
    )
    api.import_adapter(
        api.ImportAdapterRequest(
            folder=folder / "out" / "recipe", store=folder / "imported", person="ima"
        )
    )
    api.pool_report(place.pool, folder / "report", recipes=place.recipes)
    _create_sharing_store(place, pool)
    return place


def _create_sharing_store(place: PiecesWorld, pool: Pool) -> None:
    """The state that ``share`` leaves if it is killed before it deletes its checkpoint."""
    folder = place.folder / "sharing"
    store = AdapterStore.create(
        folder,
        load_pieces_base(place),
        source=str(place.base),
        task="rating",
        config=LORA,
        settings=to_plain(replace(UNGATED, lora=LORA)),
    )
    with store.lock_for_writing():
        records = [AdapterRecord(person=p, served="gated", made_by="") for p in ("sam", "ned")]
        store.add([(record, None) for record in records])
    api.consent(api.ConsentRequest(store=folder, people=["sam", "ned"], scope="pieces"))
    shares = PoolLedger(Ledger(folder / "ledger"), pool)
    for person, sharer in (("sam", GONE), ("ned", STAYS)):
        shares.record_shared(person, sharer, consented="", sites=8, ratio=1.0, overridden="")
    write_json(
        folder / "leakage" / f"{pool.id}.json",
        {"pool": pool.id, "people": [{"sharer": GONE, "shared": True}, {"sharer": STAYS}]},
    )
    row = pool.load_gates(pool.sites[0])[0].half().numpy().tobytes()
    (folder / "share.bin").write_bytes(b"state" + row)


@pytest.fixture
def place(template: PiecesWorld, tmp_path: Path) -> PiecesWorld:
    return copy_world(template, tmp_path / "all")


def copy_world(template: PiecesWorld, folder: Path) -> PiecesWorld:
    """Copies everything except the base, which is a link."""
    shutil.copytree(
        template.folder, folder, ignore=lambda at, names: ["base"] if "base" in names else []
    )
    (folder / "base").symlink_to(template.base)
    return PiecesWorld(folder)


def list_traces(place: PiecesWorld) -> list[bytes]:
    """The bytes of every piece and gate of the sharer who withdraws, and the pseudonym."""
    pool = Pool.open(place.pool)
    parts = [
        part.contiguous().numpy().tobytes() for p in pool.load_pieces(GONE).values() for part in p
    ]
    row = pool.sharers.index(GONE)
    gates = [pool.load_gates(path)[row].half().numpy().tobytes() for path in pool.sites]
    return [*parts, *gates, GONE.encode()]


def find_traces(place: PiecesWorld, wanted: list[bytes]) -> set[str]:
    """Files below the folder, except the base's, that contain one of the traces."""
    out: set[str] = set()
    for path in place.folder.rglob("*"):
        within = path.relative_to(place.folder)
        if path.is_file() and within.parts[0] != "base":
            raw = path.read_bytes()
            out |= {str(within)} if any(trace in raw for trace in wanted) else set()
    return out


LEDGER = {"sharing/ledger/events.jsonl", "sharing/ledger/end.json"}
"""The only files that keep the pseudonym: see ``pieces.withdrawal.withdraw``."""


def withdraw(place: PiecesWorld, **options: Any) -> Any:
    given: dict[str, Any] = {"sharers": [GONE]} | options
    return api.withdraw(api.WithdrawRequest(pool=place.pool, **given))


def list_outcomes(done: Any, where: str) -> dict[str, str]:
    return {e.person: e.outcome for e in done.effects if e.where.name == where and e.person}


def test_find_traces_finds_all_artifacts_before_withdrawal(template: PiecesWorld) -> None:
    """Otherwise the tests below would prove nothing."""
    files = find_traces(template, list_traces(template))
    tops = {file.split("/")[0] for file in files}
    assert tops == {"pool", "recipes", "oppu", "out", "imported", "report", "sharing"}
    weights = {file for file in files if file.endswith("adapter_model.safetensors")}
    assert weights == {f"out/{n}/adapter_model.safetensors" for n in ("recipe", "oppu")}
    pieces = [trace for trace in list_traces(template) if len(trace) > 64]
    assert any(file.startswith("oppu/shards") for file in find_traces(template, pieces))


def test_withdraw_leaves_no_byte(place: PiecesWorld) -> None:
    wanted = list_traces(place)
    done = withdraw(place)
    assert find_traces(place, wanted) == LEDGER
    assert find_traces(place, [t for t in wanted if t != GONE.encode()]) == set()
    assert (done.sharers, done.left) == ((GONE,), 3)
    assert done.mentions == () and done.unreadable == ()


def test_withdraw_without_histories_removes_dependents(place: PiecesWorld) -> None:
    done = withdraw(place)
    for where in ("recipes", "oppu"):
        assert list_outcomes(done, where) == dict.fromkeys(PEOPLE, "discarded")
    assert list_outcomes(done, "imported") == {"ima": "discarded"}
    deleted = {e.where.name for e in done.effects if e.outcome == "deleted"}
    assert deleted == {"recipe", "oppu", "report.json", "report.html"}
    assert not (place.folder / "out" / "recipe").exists()
    for folder, person, command in (
        (place.recipes, "ann", "assemble"),
        (place.folder / "oppu", "bob", "personalize"),
        (place.folder / "imported", "ima", "personalize"),
    ):
        for use in (
            lambda f=folder, p=person: api.predict(
                api.PredictRequest(store=f, person=p, text=ASKED)
            ),
            lambda f=folder, p=person: api.export(
                api.ExportRequest(store=f, person=p, out=place.folder / "x")
            ),
        ):
            with pytest.raises(MismatchError, match=rf"'{person}'.*withdrawn.*idiolect {command}$"):
                use()
    with pytest.raises(MismatchError, match="the recipe of 'ann'"):
        api.personalize(
            api.PersonalizeRequest(
                data=place.data,
                store=place.folder / "oppu",
                base=str(place.base),
                pieces=place.recipes,
            )
        )
    assert (
        api.predict(api.PredictRequest(store=place.recipes, person="eve", text=ASKED)).served_by
        == "base"
    )


def test_withdraw_keeps_what_does_not_use_the_pieces(place: PiecesWorld) -> None:
    pool, recipes = Pool.open(place.pool), RecipeStore.open(place.recipes)
    before = [
        to_tensor_bytes(pool.get_adapter(n)) for n in (make_sharer_id(1), make_sharer_id(2), STAYS)
    ]
    recipe = recipes.load_recipe("zed")
    withdraw(place)
    pool, after = Pool.open(place.pool), RecipeStore.open(place.recipes).load_recipe("zed")
    assert pool.sharers == (make_sharer_id(1), make_sharer_id(2), STAYS)
    assert [to_tensor_bytes(pool.get_adapter(n)) for n in pool.sharers] == before
    assert recipe is not None and after is not None and torch.equal(recipe.pick, after.pick)
    assert (
        api.predict(api.PredictRequest(store=place.recipes, person="zed", text=ASKED)).served_by
        == "adapter"
    )
    assert Manifest.load(place.folder / "out" / "zed", "adapter").config["sharers"] == [STAYS]


def test_withdraw_with_histories_rebuilds_from_other_sharers(place: PiecesWorld) -> None:
    wanted = list_traces(place)
    done = withdraw(place, data=place.data)
    assert find_traces(place, wanted) == LEDGER
    assert list_outcomes(done, "recipes") == dict.fromkeys(PEOPLE, "reassembled")
    assert list_outcomes(done, "oppu") == dict.fromkeys(PEOPLE, "retrained")
    left = set(Pool.open(place.pool).sharers)
    recipes, store = RecipeStore.open(place.recipes), AdapterStore.open(place.folder / "oppu")
    for person in PEOPLE:
        recipe, record = recipes.load_recipe(person), store.get_record(person)
        assert recipe is not None and record is not None
        assert set(record.sharers) == set(recipe.sharers) <= left and record.sharers
        assert (
            api.predict(
                api.PredictRequest(store=place.folder / "oppu", person=person, text=ASKED)
            ).served_by
            == "adapter"
        )
        assert (
            api.predict(
                api.PredictRequest(store=place.recipes, person=person, text=ASKED)
            ).served_by
            == "adapter"
        )
    fresh = build_pieces_world(place.folder.parent / "fresh")
    pool = Pool.open(fresh.pool)
    with pool.lock_for_writing():
        pool.remove_sharers([GONE])
    fresh.assemble()
    for person in PEOPLE:
        ours = recipes.load_recipe(person)
        theirs = RecipeStore.open(fresh.recipes).load_recipe(person)
        assert ours is not None and theirs is not None
        assert ours.sharers == theirs.sharers and torch.equal(ours.pick, theirs.pick)
    again = api.personalize(
        api.PersonalizeRequest(
            data=place.data,
            store=place.folder / "oppu",
            base=str(place.base),
            config=STILL,
            pieces=place.recipes,
        )
    )
    assert again.trained == ()


def test_withdraw_removes_dependents_of_people_without_history(place: PiecesWorld) -> None:
    write_dataset(place.data, [make_rater("bob", 7)], task="rating", source="x", overwrite=True)
    done = withdraw(place, data=place.data)
    told = {"ann": "discarded", "bob": "reassembled", "cyd": "discarded"}
    assert list_outcomes(done, "recipes") == told
    assert list_outcomes(done, "oppu") == told | {"bob": "retrained"}
    (why,) = {e.why for e in done.effects if e.person == "ann" and e.where.name == "recipes"}
    assert why == f"no history in {place.data}"


def test_withdraw_explains_removal_if_too_few_sharers_remain(place: PiecesWorld) -> None:
    wanted = list_traces(place)
    done = withdraw(place, sharers=[GONE, make_sharer_id(1), make_sharer_id(2)], data=place.data)
    assert list_outcomes(done, "recipes") == dict.fromkeys(PEOPLE, "discarded")
    assert any("top_k: 2 pieces per module" in e.why for e in done.effects)
    assert find_traces(place, wanted) == LEDGER
    with pytest.raises(MismatchError, match=r"withdrawn.*make it again"):
        api.predict(api.PredictRequest(store=place.folder / "oppu", person="ann", text=ASKED))


def test_withdraw_records_events_and_revokes_consent(place: PiecesWorld) -> None:
    sharing, pool = place.folder / "sharing", Pool.open(place.pool)
    done = api.withdraw(api.WithdrawRequest(pool=place.pool, store=sharing, people=["sam"]))
    assert done.sharers == (GONE,)
    ledger = Ledger(sharing / "ledger")
    assert [e.event for e in ledger.read_entries_of("sam")] == [
        "consented",
        "shared",
        "revoked",
        "withdrew",
    ]
    assert ledger.read_entries_of("sam")[-1].details == {
        "scope": "pieces",
        "pool": pool.id,
        "as": GONE,
    }
    assert [e.event for e in ledger.read_entries_of("ned")] == ["consented", "shared"]
    assert not (sharing / "share.bin").exists()
    report = json.loads((sharing / "leakage" / f"{pool.id}.json").read_text())["content"]
    assert report == {"pool": pool.id, "people": [{"sharer": STAYS}]}
    lost = [
        e for e in Ledger(place.folder / "oppu" / "ledger").read_entries() if e.event == "dropped"
    ]
    assert len(lost) == 3 and lost[0].details["pool"] == pool.id
    assert GONE.encode() not in (place.folder / "oppu" / "ledger" / "events.jsonl").read_bytes()
    before = ledger.read_entries()
    api.withdraw(api.WithdrawRequest(pool=place.pool, store=sharing, people=["sam"]))
    assert ledger.read_entries() == before


def test_withdraw_records_event_in_ledgers_it_finds(place: PiecesWorld) -> None:
    done = withdraw(place, within=[place.folder / "sharing", place.recipes])
    assert [p.name for p in done.ledgers] == ["sharing"]
    assert (
        Ledger(place.folder / "sharing" / "ledger").read_entries_of("sam")[-1].event == "withdrew"
    )
    assert list_outcomes(done, "oppu") == {} != list_outcomes(done, "recipes")
    later = withdraw(place)
    assert list_outcomes(later, "oppu") == dict.fromkeys(PEOPLE, "discarded")


def test_withdraw_deletes_leftovers_of_killed_runs(place: PiecesWorld) -> None:
    wanted = list_traces(place)
    partial = place.folder / "out" / f".mine.{2**22 + 1}-{'0' * 14}.partial"
    checkpoint = place.folder / "oppu" / "checkpoint.bin"
    checkpoint.write_bytes(wanted[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("idiolect.storage.files._HOST_HASH", "000000")
        shutil.copytree(place.folder / "out" / "recipe", partial)
        withdraw(place)
    assert not checkpoint.exists() and not partial.exists()
    assert find_traces(place, wanted) == LEDGER


def test_withdraw_completes_after_kill(
    template: PiecesWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, count, died = list_traces(template), 0, True
    while died:
        place = copy_world(template, tmp_path / str(count))
        sharing, died = place.folder / "sharing", False
        for _ in fail_at(count, monkeypatch):
            try:
                api.withdraw(api.WithdrawRequest(pool=place.pool, store=sharing, people=["sam"]))
            except KeyboardInterrupt:
                died = True
        if died:
            api.withdraw(api.WithdrawRequest(pool=place.pool, store=sharing, people=["sam"]))
        assert find_traces(place, wanted) == LEDGER
        events = [e.event for e in Ledger(sharing / "ledger").read_entries_of("sam")]
        assert events == ["consented", "shared", "revoked", "withdrew"]
        for folder in (place.recipes, place.folder / "oppu"):
            with pytest.raises(MismatchError, match="withdrawn"):
                api.predict(api.PredictRequest(store=folder, person="ann", text=ASKED))
        shutil.rmtree(place.folder)
        count += 5
    assert count > 20


@pytest.mark.parametrize("where", ["_assemble_recipes", "_train_adapters"])
@pytest.mark.parametrize("done", [False, True])
def test_withdraw_completes_after_kill_during_rebuild(
    place: PiecesWorld, where: str, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill before the rebuild, or after it and before the original is removed."""
    wanted, real = list_traces(place), getattr(Rebuilder, where)

    def rebuild_and_die(remaker: Rebuilder, *arguments: Any) -> None:
        if done:
            real(remaker, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Rebuilder, where, rebuild_and_die)
        with pytest.raises(KeyboardInterrupt):
            withdraw(place, data=place.data)
    withdraw(place, data=place.data)
    assert find_traces(place, wanted) == LEDGER
    for person in PEOPLE:
        assert (
            api.predict(
                api.PredictRequest(store=place.folder / "oppu", person=person, text=ASKED)
            ).served_by
            == "adapter"
        )
        assert (
            api.predict(
                api.PredictRequest(store=place.recipes, person=person, text=ASKED)
            ).served_by
            == "adapter"
        )


def test_withdraw_reports_unreadable_folders_and_continues(place: PiecesWorld) -> None:
    head = place.folder / "imported" / "store.json"
    head.write_text(head.read_text().replace("rating", "ratinh"))
    (place.folder / "notes.txt").write_text(f"the pieces of {GONE} were good")
    done = withdraw(place)
    assert "store.json" in done.unreadable[0] and done.left == 3
    assert {path.name for path in done.mentions} == {"000001.json", "notes.txt"}
    command = ("withdraw", place.pool, "--store", place.folder / "sharing", "--person", "sam")
    assert "not everything was looked into" in run_cli(*command, code=1).stderr


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"sharers": []}, UsageError, "name the sharers who withdraw"),
        ({"sharers": [], "people": ["sam"]}, UsageError, "name that store"),
        ({"sharers": ["f" * 16]}, MissingError, f"no sharer {'f' * 16} in this pool"),
        ({"sharers": [GONE, "f" * 16]}, MissingError, "no sharer"),
        ({"store": "sharing", "people": ["zoe"]}, MissingError, "'zoe' shared nothing with"),
        ({"store": "nothing", "people": ["sam"]}, MissingError, "no adapter store there"),
        ({"within": ["nothing"]}, MissingError, "no such folder to search"),
        ({"data": "nothing"}, MissingError, "no such dataset folder"),
        ({"data": "replies"}, MismatchError, "has histories of task 'reply'"),
        ({"data": "data", "base": "/nothing"}, MissingError, "no model folder there"),
    ],
)
def test_withdraw_rejects_bad_request_without_changes(
    place: PiecesWorld, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    write_dataset(place.folder / "replies", [make_rater("ann", 3)], task="reply", source="x")
    given = dict(options)
    for key in ("store", "data"):
        if key in given:
            given[key] = place.folder / given[key]
    if "within" in given:
        given["within"] = [place.folder / "nothing"]
    before = {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()}
    with pytest.raises(error, match=said):
        withdraw(place, **given)
    kept = {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()}
    assert {p: raw for p, raw in kept.items() if not p.name.startswith(".")} == {
        p: raw for p, raw in before.items() if not p.name.startswith(".")
    }


def test_withdraw_command_prints_outcomes(place: PiecesWorld) -> None:
    sharing = place.folder / "sharing"
    arguments = [
        "withdraw",
        place.pool,
        "--store",
        sharing,
        "--person",
        "sam",
        "--data",
        place.data,
    ]
    shown = run_cli(*arguments).stdout
    assert "reassembled" in shown and "retrained" in shown and "deleted" in shown
    assert any(line.split() == ["withdrawn", "1", "sharer"] for line in shown.splitlines())
    again = run_cli_json(*arguments, "--in", place.folder)
    assert again["effects"] == [] and again["left"] == 3
    missing = run_cli("withdraw", place.pool, "--sharer", "f" * 16, code=1)
    assert missing.stderr.startswith("error: ") and missing.stdout == ""
    assert "name the sharers who withdraw" in run_cli("withdraw", place.pool, code=2).stderr


@pytest.mark.finding("symbolic-links")
def test_withdraw_changes_nothing_behind_a_link_in_a_store(
    place: PiecesWorld, tmp_path: Path
) -> None:
    target = tmp_path / "outside"
    shutil.move(place.folder / "oppu" / "shards", target)
    (place.folder / "oppu" / "shards").symlink_to(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    done = withdraw(place)
    assert any("leads to" in why for why in done.unreadable)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    with pytest.raises(IntegrityError, match="a link in this folder leads to"):
        withdraw(place, store=place.folder / "oppu")
