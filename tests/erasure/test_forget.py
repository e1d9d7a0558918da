"""``forget`` removes every byte of a person, and leaves other people's artifacts unchanged."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.forget import ForgetConfig
from idiolect.errors import MismatchError, MissingError
from idiolect.events import Message
from idiolect.history.dataset import read_dataset
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.models.load import load_base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.ledger import Ledger
from idiolect.profiles.store import load_profiles
from idiolect.storage.manifest import Manifest
from idiolect.training.engine.config import EngineConfig
from support.crash import fail_at
from support.erasure_world import (
    ANN,
    BART,
    CONFIG,
    CRESS,
    DORA,
    PEOPLE,
    RECIPES,
    SHARE,
    ErasureWorld,
    build_full_world,
    build_trained_world,
    copy_world,
    make_chat,
    make_histories,
    make_sentence,
    open_pool,
    open_store,
)
from support.tiny_people import to_tensor_bytes

REMOVED = "[removed]"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ErasureWorld:
    return build_full_world(tmp_path_factory.mktemp("forget") / "all")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ErasureWorld:
    place = build_trained_world(tmp_path_factory.mktemp("small") / "all")
    api.profile(api.ProfileRequest(data=place.data, out=place.folder / "profiles", writer="facts"))
    api.export(api.ExportRequest(store=place.store, person=ANN, out=place.folder / "out"))
    return place


@pytest.fixture
def place(small: ErasureWorld, tmp_path: Path) -> ErasureWorld:
    return copy_world(small, tmp_path / "all")


def collect_traces(place: ErasureWorld, person: str = ANN) -> list[bytes]:
    """Return the person's id, sentences, and adapter tensors as bytes."""
    adapter = AdapterStore.open(place.store).get_adapter(person)
    numbers = [raw for raw in to_tensor_bytes(adapter) if any(raw)]
    return [person.encode(), *(make_sentence(person, n).encode() for n in range(9)), *numbers]


def find_files_with(place: ErasureWorld, wanted: list[bytes]) -> set[str]:
    """Return the files that contain any of these bytes. Parquet files are decoded first."""
    out = {name for name, raw in place.read_files().items() if any(w in raw for w in wanted)}
    for path in place.folder.rglob("data*"):
        if (path / "people.parquet").is_file():
            text = repr([*read_dataset(path)]).encode()
            out |= {str(path.name)} if any(w in text for w in wanted) else set()
    return out


def list_effects(done: Any, outcome: str) -> set[tuple[str, str, str]]:
    return {(e.what, e.where.name, e.person) for e in done.effects if e.outcome == outcome}


def test_forget_removes_every_byte_of_a_person(template: ErasureWorld, tmp_path: Path) -> None:
    place = copy_world(template, tmp_path / "all")
    wanted = collect_traces(place)
    before = {top.split("/")[0] for top in find_files_with(place, wanted)}
    assert before >= {"data", "store", "profiles", "out", "from-mean", "adapted", "report", "pool"}
    assert before >= {"recipes", "copies", "from-other"}
    done = place.forget(verify=True)
    assert find_files_with(place, wanted) == set()
    assert (done.left, done.unreadable, done.verified) == ((), (), True)
    assert not (place.store / "checkpoint.bin").exists()
    _check_effects(place, done)
    _check_predictions(place)
    again = place.forget(verify=True)
    assert (again.effects, again.left) == ((), ())
    with pytest.raises(MissingError, match="nothing of 'annabel'"):
        place.forget()


def _check_effects(place: ErasureWorld, done: Any) -> None:
    assert list_effects(done, "redacted") == {("history", "data", BART)}
    rebuilt = {e for e in list_effects(done, "rebuilt") if e[0] == "adapter"}
    assert rebuilt == {("adapter", "store", BART), ("adapter", "from-other", BART)}
    assert ("profile", "profiles", BART) in list_effects(done, "rebuilt")
    assert ("base", "adapted", "") in list_effects(done, "rebuilt")
    discarded = list_effects(done, "discarded")
    assert {("adapter", "from-mean", p) for p in PEOPLE if p != ANN} <= discarded
    assert ("adapter", "copies", "imported") in discarded
    deleted = {
        name for what, name, _ in list_effects(done, "deleted") if what == "exported adapter"
    }
    assert deleted == {"hers", "mean"}
    assert ("adapter store", "on-adapted", "") in list_effects(done, "refused")
    stores = {"store", "from-mean", "from-other"}
    assert list_effects(done, "destroyed") == {("pseudonym", name, ANN) for name in stores}


def _check_predictions(place: ErasureWorld) -> None:
    """Everything derived from her works again, or raises an error that says why not."""
    text = "them: hello"
    for store in ("store", "from-other", "recipes"):
        assert (
            api.predict(api.PredictRequest(store=place.folder / store, person=BART, text=text)).text
            is not None
        )
    # Withdrawn adapters and stores of the old base raise errors.
    for store in ("from-mean", "copies"):
        person = BART if store == "from-mean" else "imported"
        with pytest.raises(MismatchError, match=r"withdrawn.*idiolect personalize"):
            api.predict(api.PredictRequest(store=place.folder / store, person=person, text=text))
    with pytest.raises(MismatchError, match="made for base"):
        api.predict(
            api.PredictRequest(
                store=place.folder / "on-adapted",
                person=DORA,
                text=text,
                base=str(place.folder / "adapted"),
            )
        )
    # The adapted base was rebuilt without her.
    rebuilt = Manifest.read_unchecked(place.folder / "adapted")
    assert ANN not in rebuilt.contributors and BART in rebuilt.contributors
    assert load_base(place.folder / "adapted").identity == rebuilt.base
    assert ANN not in load_profiles(place.folder / "profiles")
    assert RecipeStore.open(place.folder / "recipes").get_record(ANN) is None


def test_forget_leaves_other_peoples_artifacts_unchanged(
    template: ErasureWorld, tmp_path: Path
) -> None:
    place = copy_world(template, tmp_path / "all")
    # Record everything that belongs to the others before she is forgotten.
    stores = {"store": (CRESS, DORA), "from-other": (CRESS, DORA), "copies": (DORA,)}
    before = {
        (name, p): to_tensor_bytes(open_store(place, name).get_adapter(p))
        for name, ps in stores.items()
        for p in ps
    }
    stays = [n for n in open_pool(place).sharers if n not in _list_her_pseudonyms(place)]
    pieces = [to_tensor_bytes(open_pool(place).get_adapter(name)) for name in stays]
    exported = (place.folder / "out" / "cress" / "adapter_model.safetensors").read_bytes()
    mean = (place.folder / "out" / "other-mean" / "adapter_model.safetensors").read_bytes()
    rows = {h.person: h for h in read_dataset(place.data)}
    place.forget()
    # Adapters, pieces, exports, and histories have the same bytes afterwards.
    for (name, person), raw in before.items():
        assert to_tensor_bytes(open_store(place, name).get_adapter(person)) == raw
    assert list(open_pool(place).sharers) == stays
    assert [to_tensor_bytes(open_pool(place).get_adapter(name)) for name in stays] == pieces
    out = place.folder / "out"
    assert (out / "cress" / "adapter_model.safetensors").read_bytes() == exported
    assert (out / "other-mean" / "adapter_model.safetensors").read_bytes() == mean
    after = {h.person: h for h in read_dataset(place.data)}
    assert after == {CRESS: rows[CRESS], DORA: rows[DORA], BART: after[BART]}
    assert (
        api.personalize(
            api.PersonalizeRequest(
                data=place.data, store=place.store, base=str(place.base), config=CONFIG
            )
        ).trained
        == ()
    )


def _list_her_pseudonyms(place: ErasureWorld) -> set[str]:
    entries = Ledger(place.store / "ledger").read_entries_of(ANN)
    return {str(e.details["as"]) for e in entries if "as" in e.details}


def test_forget_redacts_words_in_other_histories(place: ErasureWorld) -> None:
    before = read_dataset(place.data).read_history(BART)
    place.forget()
    after = read_dataset(place.data).read_history(BART)
    assert [i.fields["reply"] for i in after.items] == [i.fields["reply"] for i in before.items]
    assert after.items[3].fields["context"] == f"{REMOVED}\nme: {make_sentence(BART, 2)}"
    assert all(i.voices == () for i in (*after.items, *after.queries))
    manifest = read_dataset(place.data).manifest
    assert manifest["source"] == f"chat: of {REMOVED}" and manifest["people"] == 3


def test_forget_retrains_redacted_people_exactly(place: ErasureWorld, tmp_path: Path) -> None:
    place.forget()
    store = AdapterStore.open(place.store)
    place.personalize(tmp_path / "fresh", people=[BART])
    fresh = AdapterStore.open(tmp_path / "fresh")
    assert to_tensor_bytes(store.get_adapter(BART)) == to_tensor_bytes(fresh.get_adapter(BART))
    ours, theirs = store.get_record(BART), fresh.get_record(BART)
    assert ours is not None and theirs is not None
    assert ours.made_by == theirs.made_by


def test_forget_records_equals_never_having_seen_them(small: ErasureWorld, tmp_path: Path) -> None:
    """The result has the same bytes as a run that never saw the records."""
    place = copy_world(small, tmp_path / "all")
    chats = [h for h in make_histories() if h.person in (CRESS, DORA)]
    unvoiced = [_remove_voices(h) for h in chats]
    write_dataset(place.data, unvoiced, task="reply", source="x", overwrite=True)
    shutil.rmtree(place.store)
    place.personalize(place.store)
    gone = [f"{CRESS}-{n}" for n in (2, 5)]
    done = api.forget(
        api.ForgetRequest(
            data=place.data, adapters=place.store, person=CRESS, records=gone, verify=True
        )
    )
    # The reference: a dataset and an adapter that never had the records.
    never = [_remove_items(h, gone) for h in unvoiced]
    write_dataset(tmp_path / "never", never, task="reply", source="x", name="data")
    place.personalize(tmp_path / "fresh", tmp_path / "never", people=[CRESS])
    ours, fresh = AdapterStore.open(place.store), AdapterStore.open(tmp_path / "fresh")
    assert to_tensor_bytes(ours.get_adapter(CRESS)) == to_tensor_bytes(fresh.get_adapter(CRESS))
    kept, made = ours.get_record(CRESS), fresh.get_record(CRESS)
    assert kept is not None and made is not None and replace(kept, row=0) == replace(made, row=0)
    assert read_dataset(place.data).read_history(CRESS) == read_dataset(
        tmp_path / "never"
    ).read_history(CRESS)
    for name in ("interactions.parquet", "people.parquet"):
        assert (place.data / name).read_bytes() == (tmp_path / "never" / name).read_bytes()
    assert ("records", "data", CRESS) in list_effects(done, "removed") and done.left == ()
    assert Ledger(place.store / "ledger").read_entries_of(CRESS)[-1].event == "records forgotten"


def _remove_voices(history: History) -> History:
    def remove(items: Any) -> Any:
        return tuple(
            replace(i, voices=(), fields={**i.fields, "context": f"them: {i.id} went by"})
            for i in items
        )

    return History(history.person, remove(history.items), remove(history.queries))


def _remove_items(history: History, gone: list[str]) -> History:
    """Return the history without some items, renumbered as an importer would."""
    every = [i for i in (*history.items, *history.queries) if i.id not in gone]
    numbered = {i.id: replace(i, position=n) for n, i in enumerate(every)}
    items = [numbered[i.id] for i in history.items if i.id in numbered]
    return History.from_interactions(
        history.person, items, [numbered[q.id] for q in history.queries]
    )


def test_forget_records_redacts_quotes(place: ErasureWorld) -> None:
    """Quotes are redacted in her own later contexts and in his, and nowhere else."""
    his = AdapterStore.open(place.store).get_adapter(BART)
    done = place.forget(records=[f"{ANN}-4"], verify=True)
    data = read_dataset(place.data)
    assert make_sentence(ANN, 4).encode() not in repr([*data]).encode()
    assert make_sentence(ANN, 3) in data.read_history(BART).items[3].fields["context"]
    assert data.read_history(BART).items[4].fields["context"].startswith(f"{REMOVED}\nme: ")
    # Her own later contexts are redacted; her other words stay.
    (later,) = [i for i in data.read_history(ANN).items if i.id == f"{ANN}-5"]
    assert later.fields["context"] == f"them: {make_sentence(BART, 5)}\n{REMOVED}"
    assert data.read_history(ANN).items[0].voices == (BART,)
    assert list_effects(done, "redacted") == {("history", "data", BART)}
    made = {person for what, _, person in list_effects(done, "rebuilt") if what == "adapter"}
    assert made == {ANN, BART} and done.left == ()
    assert to_tensor_bytes(AdapterStore.open(place.store).get_adapter(BART)) != to_tensor_bytes(his)
    assert not (place.folder / "out").exists(), "the export of her old adapter"
    assert load_profiles(place.folder / "profiles")[ANN]
    with pytest.raises(MissingError, match=r"no record 'annabel-4'.*already forgotten"):
        place.forget(records=[f"{ANN}-4"])


def test_forget_without_rebuild_discards_derived_artifacts(place: ErasureWorld) -> None:
    done = place.forget(config=ForgetConfig(rebuild=False))
    assert ("adapter", "store", BART) in list_effects(done, "discarded")
    assert ("profile", "profiles", BART) in list_effects(done, "discarded")
    with pytest.raises(MismatchError, match="withdrawn"):
        api.predict(api.PredictRequest(store=place.store, person=BART, text="them: hello"))
    assert (
        api.predict(
            api.PredictRequest(store=place.store, person=CRESS, text="them: hello")
        ).served_by
        == "adapter"
    )
    place.personalize(place.store)
    assert (
        api.predict(
            api.PredictRequest(store=place.store, person=BART, text="them: hello")
        ).served_by
        == "adapter"
    )


def test_forget_deletes_adapted_base_that_cannot_be_rebuilt(
    template: ErasureWorld, tmp_path: Path
) -> None:
    place = copy_world(template, tmp_path / "all")
    place.forget(config=ForgetConfig(rebuild=False))
    with pytest.raises(MissingError, match=r"a person who has been erased.*idiolect adapt"):
        load_base(place.folder / "adapted")
    assert [p.name for p in (place.folder / "adapted").iterdir()] == ["manifest.json"]
    with pytest.raises(MissingError, match="a person who has been erased"):
        api.predict(
            api.PredictRequest(
                store=place.folder / "on-adapted",
                person=DORA,
                text="x",
                base=str(place.folder / "adapted"),
            )
        )


def test_forget_dry_run_changes_nothing(place: ErasureWorld) -> None:
    before = place.read_files()
    done = place.forget(dry_run=True)
    assert place.read_files() == before and not done.done
    assert ("history", "data", ANN) in list_effects(done, "removed")
    assert {name for _, name, _ in list_effects(done, "removed")} >= {"store", "profiles"}


def test_forget_keeps_equal_numeric_ids_of_other_tasks(place: ErasureWorld) -> None:
    """A numeric id means the same person within a task only."""
    folder = place.folder
    people = [replace(make_chat("7", "8", 6), person="7"), make_chat("8", "7", 6)]
    write_dataset(folder / "data", people, task="reply", source="x", overwrite=True)
    shutil.rmtree(place.store)
    place.personalize(place.store)
    other = History.from_interactions(
        "7", [replace(i, voices=()) for i in make_chat("7", "6", 5).items]
    )
    films = [replace(i, fields={"title": f"F {i.id}", "rating": "3"}) for i in other.items]
    write_dataset(
        folder / "films", [History.from_interactions("7", films)], task="rating", source="x"
    )
    write_dataset(folder / "copy", people, task="reply", source="x")
    done = api.forget(
        api.ForgetRequest(data=place.data, adapters=place.store, person="7", verify=True)
    )
    assert "7" in read_dataset(folder / "films") and done.left == ()
    assert "7" not in read_dataset(folder / "copy") and "7" not in read_dataset(place.data)


PLANTED = {
    "notes.txt": lambda text: f"She wrote: {text.upper()}\n".encode(),
    "log.jsonl": lambda text: (json.dumps({"k": {"texts": ["a", text]}}) + "\n").encode(),
    "escaped.json": lambda text: json.dumps([text]).replace(" ", "\\u0020").encode(),
    "packed.txt.gz": lambda text: gzip.compress(text.encode()),
    "page.html": lambda text: f"<p>{text.replace(' ', '&#32;')}</p>".encode(),
    "part.txt": lambda text: text[1:].encode(),
    "id.json": lambda text: json.dumps({"people": {ANN: 1}}).encode(),
    "raw.dat": lambda text: b"\x00\xff" * 99 + text.encode() + b"\xfe",
}


@pytest.mark.parametrize("name", PLANTED)
def test_verification_finds_planted_copies(place: ErasureWorld, name: str) -> None:
    text = f"{make_sentence(ANN, 3)}"
    (place.folder / "else").mkdir()
    (place.folder / "else" / name).write_bytes(PLANTED[name](text))
    done = place.forget(verify=True)
    assert [hit.where.name for hit in done.left] == [name]


def test_verification_finds_databases_tables_and_weights(place: ErasureWorld) -> None:
    folder = place.folder / "else"
    folder.mkdir()
    adapter = AdapterStore.open(place.store).get_adapter(ANN)
    assert adapter is not None
    numbers = next(raw for raw in to_tensor_bytes(adapter) if any(raw))
    (folder / "weights.bin").write_bytes(b"x" * 7 + numbers)
    database = sqlite3.connect(folder / "site.db")
    database.execute("CREATE TABLE account (id INTEGER, name TEXT)")
    database.execute("INSERT INTO account VALUES (1, ?)", [ANN])
    database.commit()
    database.close()
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.table({"t": [f"so {make_sentence(ANN, 1)} then"]}), folder / "t.parquet"
    )
    done = place.forget(verify=True)
    found = {hit.where.name: hit.what for hit in done.left}
    assert found.keys() == {"weights.bin", "site.db", "t.parquet"}
    assert found["weights.bin"] == "weights of their adapter" and found["site.db"] == "the id"
    assert found["t.parquet"] == "words that only they wrote"


@pytest.mark.parametrize("records", [(), (f"{ANN}-4",)])
def test_forget_finishes_after_any_crash(
    small: ErasureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: tuple[str, ...]
) -> None:
    whole = copy_world(small, tmp_path / "whole")
    whole.forget(records=records)
    wanted = [make_sentence(ANN, 4).encode()] if records else collect_traces(small)
    count, crashed, crashes = 0, True, 0
    while crashed:
        place = copy_world(small, tmp_path / str(count))
        crashed = False
        # Crash at every eleventh fsync, run again, and compare with an uninterrupted run.
        for _ in fail_at(count, monkeypatch):
            try:
                place.forget(records=records)
            except KeyboardInterrupt:
                crashed = True
        if crashed:
            crashes += 1
            with suppress(MissingError):  # the crash came after the last step
                place.forget(records=records)
        assert find_files_with(place, wanted) == set()
        for person in (BART, CRESS, DORA, *((ANN,) if records else ())):
            ours = AdapterStore.open(place.store).get_adapter(person)
            assert to_tensor_bytes(ours) == to_tensor_bytes(
                AdapterStore.open(whole.store).get_adapter(person)
            )
        shutil.rmtree(place.folder)
        count += 11
    assert crashes > 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"person": "nobody"}, MissingError, "nothing of 'nobody' found in"),
        ({"records": ["annabel-99"]}, MissingError, "has no record 'annabel-99'"),
        ({"person": "nobody", "records": ["x"]}, MissingError, "no person named 'nobody'"),
        ({"within": ["nothing"]}, MissingError, "no such folder to search"),
    ],
)
def test_forget_rejects_invalid_calls_without_changes(
    place: ErasureWorld, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"person": ANN} | options
    if "within" in arguments:
        arguments["within"] = [place.folder / "nothing"]
    (place.store / "checkpoint.bin").write_bytes(b"unfinished work")
    before = place.read_files()
    with pytest.raises(error, match=message):
        place.forget(**arguments)
    assert place.read_files() == before


def test_forget_searches_only_given_folders_data_and_store(place: ErasureWorld) -> None:
    (place.folder / "notes").mkdir()
    (place.folder / "notes" / "x.txt").write_text(make_sentence(ANN, 3))
    done = place.forget(within=[place.folder / "out"], verify=True)
    assert not (place.folder / "out").exists() and done.left == ()
    assert ANN not in AdapterStore.open(place.store).people and ANN not in read_dataset(place.data)
    assert ANN in load_profiles(place.folder / "profiles")
    later = place.forget(verify=True)
    assert ("profile", "profiles", ANN) in list_effects(later, "removed")


def test_forget_redacts_dataset_copies_without_the_person(place: ErasureWorld) -> None:
    rest = [h for h in make_histories() if h.person != ANN]
    write_dataset(place.folder / "copy", rest, task="reply", source="x")
    done = place.forget(verify=True)
    assert list_effects(done, "redacted") == {("history", "data", BART), ("history", "copy", BART)}
    assert done.left == ()


def test_forget_rejects_folders_of_other_kinds(place: ErasureWorld) -> None:
    with pytest.raises(MissingError, match="neither an adapter store nor a recipe store"):
        api.forget(
            api.ForgetRequest(data=place.data, adapters=place.folder / "profiles", person=ANN)
        )
    with pytest.raises(MissingError, match="not a dataset"):
        api.forget(api.ForgetRequest(data=place.store, adapters=place.store, person=ANN))


def test_forget_reports_unreadable_artifacts_and_continues(place: ErasureWorld) -> None:
    broken = place.folder / "broken"
    shutil.copytree(place.store, broken)
    header = broken / "store.json"
    header.write_text(header.read_text().replace("reply", "repli"))
    done = place.forget(verify=True)
    assert "store.json" in done.unreadable[0]
    assert {hit.where.parent.name for hit in done.left} == {"shards", "ledger"}
    assert ANN not in AdapterStore.open(place.store).people


def test_forget_destroys_pseudonym_link_despite_edited_ledger(place: ErasureWorld) -> None:
    events = place.store / "ledger" / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join([lines[0].replace("trained", "trainee"), *lines[1:]]))
    done = place.forget()
    assert any("events.jsonl:1" in why for why in done.unreadable)
    assert ANN not in (place.store / "ledger" / "people.json").read_text()
    assert ANN not in AdapterStore.open(place.store).people


@pytest.mark.finding("cut-ledger")
def test_forget_deletes_pieces_despite_ledger_without_end(
    template: ErasureWorld, tmp_path: Path
) -> None:
    place = copy_world(template, tmp_path / "all")
    (place.store / "ledger" / "end.json").unlink()
    pieces = len(Pool.open(place.folder / "pool").sharers)
    done = place.forget(verify=True)
    assert len(Pool.open(place.folder / "pool").sharers) == pieces - 1
    assert done.left == ()
    assert any("end.json: is missing" in why for why in done.unreadable)


def write_films(place: ErasureWorld) -> None:
    """Add another task of the same people: films, a store, and a pool with pieces of it."""
    histories = [
        History.from_interactions(
            person,
            [
                # The ids are those of the chats.
                replace(i, voices=(), fields={"title": f"Film {i.id} of mine", "rating": "3"})
                for i in make_chat(person, person, 9).items
            ],
        )
        for person in (ANN, CRESS)
    ]
    write_dataset(place.folder / "films", histories, task="rating", source="x")
    store = place.folder / "film-store"
    place.personalize(store, place.folder / "films")
    api.consent(api.ConsentRequest(store=store, people=[ANN, CRESS], scope="pieces"))
    api.consent(api.ConsentRequest(store=store, people=[ANN, CRESS], scope="mean"))
    api.share(
        api.ShareRequest(
            store=store,
            data=place.folder / "films",
            pool=place.folder / "film-pool",
            config=SHARE,
            engine=EngineConfig(slots=2),
            people=[ANN, CRESS],
            override_leakage="a test",
        )
    )
    api.assemble(
        api.AssembleRequest(
            data=place.folder / "films",
            pool=place.folder / "film-pool",
            out=place.folder / "film-recipes",
            config=RECIPES,
        )
    )
    api.export(api.ExportRequest(store=store, person=ANN, out=place.folder / "film-out"))
    (store / "checkpoint.bin").write_bytes(b"unfinished work")


@pytest.mark.finding("forget-other-task")
def test_forget_records_leaves_other_tasks_of_the_person(place: ErasureWorld) -> None:
    write_films(place)
    # Another chat of hers, with the same ids, and an adapter that was made from it.
    other = make_chat(ANN, CRESS, 12)
    turned = [
        replace(i, fields={"context": f"them: and {i.id}", "reply": f"so, {i.id}"})
        for i in other.items
    ]
    write_dataset(
        place.folder / "chat-two",
        [History.from_interactions(ANN, turned)],
        task="reply",
        source="x",
    )
    place.personalize(place.folder / "store-two", place.folder / "chat-two")
    before = place.read_files()
    done = place.forget(records=[f"{ANN}-4"], verify=True)
    after = place.read_files()
    untouched = ("film", "store-two", "chat-two")
    for name, raw in before.items():
        if name.startswith(untouched):
            assert after[name] == raw, name
    assert done.left == () and done.unreadable == ()
    places = {e.where.name for e in done.effects if e.what != "suppression list"}
    assert places == {"data", "store", "profiles", "out"}
    for store in ("film-store", "film-recipes"):
        question = "The Long Way Home (1990)"
        request = api.PredictRequest(store=place.folder / store, person=ANN, text=question)
        assert api.predict(request).text


@pytest.mark.finding("second-voices")
def test_forget_deletes_exports_of_people_who_quoted_the_person(place: ErasureWorld) -> None:
    for person in (BART, CRESS):
        out = place.folder / f"out-{person}"
        api.export(api.ExportRequest(store=place.store, person=person, out=out))
    done = place.forget(verify=True)
    assert not (place.folder / f"out-{BART}").exists(), "trained on her words in his prompts"
    assert (place.folder / f"out-{CRESS}").exists() and done.left == ()


@pytest.mark.finding("older-dataset")
def test_personalize_refuses_backup_from_before_newer_items(place: ErasureWorld) -> None:
    """A backup with fewer items is refused, and the deletion of records is no such backup."""
    place.forget(records=[f"{ANN}-4"])
    assert place.personalize(place.store).older == ()
    fewer = [h.hold_out(1) if h.person == CRESS else h for h in read_dataset(place.data)]
    write_dataset(place.folder / "backup", fewer, task="reply", source="x")
    before = to_tensor_bytes(AdapterStore.open(place.store).get_adapter(CRESS))
    done = place.personalize(place.store, place.folder / "backup")
    assert (done.older, done.trained) == ((CRESS,), ())
    assert to_tensor_bytes(AdapterStore.open(place.store).get_adapter(CRESS)) == before
    done = place.personalize(place.store, place.folder / "backup", allow_older=True)
    assert (done.older, done.trained) == ((), (CRESS,))


def write_export(place: ErasureWorld) -> Path:
    """Write all chats as plain JSONL, as an export has them before anything was forgotten."""
    path = place.folder.parent / "export.jsonl"
    rows = [
        {
            "person": h.person,
            "kind": kind,
            "id": i.id,
            "time": i.time,
            "fields": dict(i.fields),
            "voices": list(i.voices),
        }
        for h in make_histories()
        for kind, group in (("item", h.items), ("query", h.queries))
        for i in group
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.mark.finding("returning-person")
def test_forgotten_person_does_not_return_with_an_import(place: ErasureWorld) -> None:
    source = write_export(place)
    before = {h.person: h for h in make_histories()}
    done = place.forget(verify=True)
    assert done.left == ()
    assert ("suppression list", "suppressed.json", "") in list_effects(done, "added")
    again = api.ImportRequest(source=source, out=place.folder / "again", task="reply")
    report = api.import_data(again)
    assert "(people: 1, records: 0)" in report.notes[-1]
    after = {h.person: h for h in read_dataset(place.folder / "again")}
    # What the import writes is what `forget` left, and nothing else is missing.
    assert after == {h.person: h for h in read_dataset(place.data)}
    assert after[CRESS] == before[CRESS]
    # A dataset that was imported elsewhere is refused for her, and for people who quote her.
    away = place.folder.parent / "away" / "data"
    api.import_data(api.ImportRequest(source=source, out=away, task="reply"))
    summary = place.personalize(place.store, away)
    assert (summary.forgotten, summary.trained) == ((ANN, BART), ())
    # She comes back after she was taken off the list.
    list_file = place.folder / "suppressed.json"
    report = api.edit_suppression_list(
        api.SuppressionListRequest(file=list_file, people=[ANN], remove=True)
    )
    assert (report.found, report.people) == ((ANN,), 0)
    assert ANN in place.personalize(place.store, away).trained


@pytest.mark.finding("returning-person")
def test_forgotten_records_do_not_return_with_an_import(place: ErasureWorld) -> None:
    source = write_export(place)
    place.forget(records=[f"{ANN}-4"])
    away = place.folder.parent / "away" / "data"
    suppress = [place.folder / "suppressed.json"]
    request = api.ImportRequest(source=source, out=away, task="reply", suppress=suppress)
    assert "(people: 0, records: 1)" in api.import_data(request).notes[-1]
    assert {h.person: h for h in read_dataset(away)} == {
        h.person: h for h in read_dataset(place.data)
    }
    api.import_data(api.ImportRequest(source=source, out=away, task="reply", overwrite=True))
    assert ANN in place.personalize(place.store, away).forgotten


@pytest.mark.finding("returning-person")
def test_forgotten_person_in_a_backup_is_refused_everywhere(
    template: ErasureWorld, tmp_path: Path
) -> None:
    """Base models, recipes and profiles are not made of an old copy of the data."""
    place = copy_world(template, tmp_path / "all")
    place.forget()
    backup, out = place.folder / "backup", place.folder / "new"
    write_dataset(backup, make_histories(), task="reply", source="x")
    pool, base = place.folder / "pool", str(place.base)
    calls: dict[str, Callable[[], object]] = {
        "adapt": lambda: api.adapt(api.AdaptRequest(data=backup, out=out, base=base)),
        "assemble": lambda: api.assemble(
            api.AssembleRequest(data=backup, pool=pool, out=out, config=RECIPES)
        ),
        "profile": lambda: api.profile(api.ProfileRequest(data=backup, out=out, writer="facts")),
    }
    for call in calls.values():
        # Bartholomew's history quotes her.
        with pytest.raises(MismatchError, match=f"forgotten, in the histories of {ANN}, {BART};"):
            call()
        assert not out.exists()
    # People who have nothing to do with her are described.
    others = api.ProfileRequest(data=backup, out=out, writer="facts", people=[CRESS, DORA])
    assert api.profile(others).people == 2


@pytest.mark.finding("returning-person")
def test_forget_without_suppression_writes_no_list(place: ErasureWorld) -> None:
    place.forget(config=ForgetConfig(suppress=False))
    assert not (place.folder / "suppressed.json").exists()


@pytest.mark.finding("dry-run-effects")
@pytest.mark.parametrize("records", [(), (f"{ANN}-4",)])
def test_forget_dry_run_lists_what_is_trained_again_and_how_long(
    place: ErasureWorld, records: tuple[str, ...]
) -> None:
    def run(*, dry_run: bool) -> tuple[Any, list[str]]:
        said: list[Any] = []
        request = api.ForgetRequest(
            data=place.data, adapters=place.store, person=ANN, records=records, dry_run=dry_run
        )
        done = api.forget(request, listener=said.append)
        return done, [event.text for event in said if isinstance(event, Message)]

    preview, said = run(dry_run=True)
    count = 2 if records else 1
    assert said[0].startswith(f"adapters to train again: {count}, about a minute or less for")
    done, said_again = run(dry_run=False)
    assert said_again[0] == said[0]
    kinds = {"adapter", "history", "records", "pseudonym", "suppression list"}
    outcomes = ("rebuilt", "redacted", "destroyed", "added")
    for outcome in outcomes:
        expected = {e for e in list_effects(done, outcome) if e[0] in kinds}
        assert {e for e in list_effects(preview, outcome) if e[0] in kinds} == expected
