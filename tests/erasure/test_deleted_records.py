"""What the data holds no more is taken out of the adapter, and of all that followed from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect import api
from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure import deleted_rows, negate_adapter
from idiolect.errors import DataError, MissingError, UsageError
from idiolect.history.dataset import read_dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.privacy.ledger import Ledger
from idiolect.prompt_sets.pairs import Pair
from idiolect.tasks.registry import get_task
from idiolect.training.schedule import TrainConfig
from idiolect.unlearning import run as unlearning_run
from idiolect.unlearning.run import Figures, UnlearnConfig
from support.crash import fail_at
from support.erasure_world import (
    ANN,
    BART,
    CONFIG,
    CRESS,
    DORA,
    Place,
    copied,
    histories,
    plain,
    said,
)
from support.tiny_people import rater, tensors

GONE = (2, 5)
NEGATING = UnlearnConfig(
    lora=LoraConfig(rank=2, alpha=4.0),
    train=TrainConfig(rate=0.02, steps=6, batch=2),
    answer_tokens=40,
    retain_bound=1.2,
)
REPLY = get_task("reply")


def pairs_of(numbers: Sequence[int] = GONE) -> list[Pair]:
    """Some of hers, as she was asked."""
    items = {i.id: i for h in histories() if h.person == ANN for i in h.items}
    found = [items[f"{ANN}-{n}"] for n in numbers]
    return [Pair(prompt=i.fields["context"], response=i.fields["reply"]) for i in found]


def written(file: Path, pairs: Sequence[Pair]) -> Path:
    lines = [json.dumps({"prompt": p.prompt, "response": p.response}) for p in pairs]
    file.write_text("\n".join(lines) + "\n")
    return file


def without(person: str, numbers: Sequence[int]) -> list[History]:
    """Everybody's histories, some of one person's rows deleted by hand."""
    gone = {f"{person}-{n}" for n in numbers}
    return [replace(h, items=tuple(i for i in h.items if i.id not in gone)) for h in histories()]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """She was trained on all; then two of her rows were deleted from the data."""
    place = plain(tmp_path_factory.mktemp("gone") / "all")
    api.export(api.ExportRequest(store=place.store, person=ANN, out=place.folder / "out" / "hers"))
    api.export(
        api.ExportRequest(store=place.store, person=CRESS, out=place.folder / "out" / "cress")
    )
    place.personalize(place.folder / "copies", people=[DORA])
    api.import_adapter(
        api.ImportAdapterRequest(
            folder=place.folder / "out" / "hers", store=place.folder / "copies", person="imported"
        )
    )
    write_dataset(place.data, without(ANN, GONE), task="reply", source="x", overwrite=True)
    written(place.folder / "gone.jsonl", pairs_of())
    return place


@pytest.fixture
def place(template: Place, tmp_path: Path) -> Place:
    return copied(template, tmp_path / "all")


def forget(place: Place, file: str = "gone.jsonl", **options: Any) -> Any:
    given: dict[str, Any] = {"negating": NEGATING} | options
    return place.forget(gone=place.folder / file, **given)


def hers(place: Place) -> LoraAdapter:
    found = AdapterStore.open(place.store).adapter(ANN)
    assert found is not None
    return require_lora(found)


def effects(done: Any, outcome: str) -> set[tuple[str, str, str]]:
    return {(e.what, e.where.name, e.person) for e in done.effects if e.outcome == outcome}


def test_the_adapter_is_negated_and_all_that_followed_from_it_goes(place: Place) -> None:
    store = AdapterStore.open(place.store)
    numbers = [raw for raw in tensors(store.adapter(ANN)) if any(raw)]
    others = {p: tensors(store.adapter(p)) for p in (CRESS, DORA)}
    done = forget(place, verify=True)
    _check_figures(done)
    store, record = AdapterStore.open(place.store), AdapterStore.open(place.store).record(ANN)
    assert record is not None and record.made_by.startswith("negated ")
    assert record.served == "adapter" and record.gate_adapter is None
    assert hers(place).config == store.adapter_config, "of the rank of the store"
    assert {p: tensors(store.adapter(p)) for p in others} == others
    assert not any(n in raw for raw in place.files().values() for n in numbers)
    assert effects(done, "deleted") == {("exported adapter", "hers", "")}
    assert (place.folder / "out" / "cress").is_dir()
    assert effects(done, "taken away") == {("adapter", "copies", "imported")}
    assert effects(done, "made anew") == {("adapter", "store", p) for p in (ANN, BART)}
    assert (done.left, done.unreadable, done.records) == ((), (), ())
    assert done.kept == (place.folder / "gone.jsonl",) and done.kept[0].is_file()
    assert (
        api.predict(api.PredictRequest(store=place.store, person=ANN, text="them: hello")).served_by
        == "adapter"
    )
    event = Ledger(place.store / "ledger").of(ANN)[-1]
    assert event.event == "records negated" and event.details["pairs"] == len(GONE)


def _check_figures(done: Any) -> None:
    made = done.negated
    assert (done.gone, made.pairs, made.retained) == (2, 2, 5)
    assert made.after.forget_perplexity > 1.01 * made.before.forget_perplexity
    assert made.after.retain_perplexity <= 1.2 * made.before.retain_perplexity
    assert made.without > 1 and made.told in {e.why for e in done.effects}


def test_what_quotes_it_is_redacted(place: Place) -> None:
    """In his lines, in her own later ones, and nowhere else."""
    done = forget(place)
    data = read_dataset(place.data)
    assert not any(said(ANN, n).encode() in repr([*data]).encode() for n in GONE)
    assert said(ANN, 3).encode() in repr([*data]).encode()
    assert effects(done, "redacted") == {("history", "data", BART), ("history", "data", ANN)}
    assert [i.id for i in data.history(ANN).items] == [f"{ANN}-{n}" for n in (0, 1, 3, 4, 6)]


def test_the_next_training_is_the_exact_way(place: Place, tmp_path: Path) -> None:
    forget(place)
    assert place.personalize(place.store).trained == (ANN,)
    place.personalize(tmp_path / "fresh", people=[ANN])
    assert tensors(hers(place)) == tensors(AdapterStore.open(tmp_path / "fresh").adapter(ANN))


def test_a_seed_gives_the_same_bytes(template: Place, place: Place, tmp_path: Path) -> None:
    forget(place)
    other, third = copied(template, tmp_path / "other"), copied(template, tmp_path / "third")
    forget(other)
    forget(third, negating=replace(NEGATING, train=replace(NEGATING.train, seed=1)))
    assert tensors(hers(place)) == tensors(hers(other)) != tensors(hers(third))


def test_again_there_is_nothing_to_do(place: Place) -> None:
    forget(place)
    before = place.files()
    with pytest.raises(MissingError, match="is taken out of the adapter of 'annabel' already"):
        forget(place)
    again = forget(place, verify=True)
    assert (again.effects, again.left, again.negated) == ((), (), None)
    assert place.files() == before


def test_a_dry_run_changes_nothing(place: Place) -> None:
    before = place.files()
    done = forget(place, dry_run=True)
    assert place.files() == before and not done.done and done.negated is None
    assert ("adapter", "store", ANN) in effects(done, "made anew")
    assert {name for _, name, _ in effects(done, "removed")} >= {"hers", "copies"}


def test_rows_in_a_copy_of_the_data_go_too(place: Place) -> None:
    write_dataset(place.folder / "old", histories(), task="reply", source="x")
    done = forget(place, verify=True)
    assert ("records", "old", ANN) in effects(done, "removed") and done.left == ()
    old, data = (read_dataset(f).history(ANN).items for f in (place.folder / "old", place.data))
    assert [(i.id, i.fields) for i in old] == [(i.id, i.fields) for i in data]


def test_another_copy_of_the_words_makes_verification_fail(place: Place) -> None:
    (place.folder / "notes.txt").write_text(f"She wrote {said(ANN, 5)}.")
    done = forget(place, verify=True)
    assert [hit.where.name for hit in done.left] == ["notes.txt"]


def test_what_does_not_work_after_folding_changes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is measured on what would be stored: here, on what was stored before."""
    old, before = hers(place), place.files()
    monkeypatch.setattr(unlearning_run, "folded", lambda adapter, config: old)
    with pytest.raises(
        UsageError, match=r"knows as much as before.*perplexity .* -> .*nothing was changed"
    ):
        forget(place)
    assert place.files() == before


def test_a_bound_that_cannot_be_kept_changes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = replace(hers(place), pairs={p: (a, b + 3) for p, (a, b) in hers(place).pairs.items()})
    before = place.files()
    monkeypatch.setattr(unlearning_run, "folded", lambda adapter, config: worse)
    with pytest.raises(UsageError, match=r"no scale .* keeps retain perplexity within 1\.2 times"):
        forget(place)
    assert place.files() == before


def _still_there(place: Place) -> None:
    written(place.folder / "gone.jsonl", pairs_of((2, 3)))


def _empty(place: Place) -> None:
    (place.folder / "gone.jsonl").write_text("")


def _columns(place: Place) -> None:
    (place.folder / "gone.jsonl").write_text('{"said": "what", "by": "whom"}\n')


def _nothing_left(place: Place) -> None:
    left = [h for h in histories() if h.person != ANN]
    write_dataset(place.data, left, task="reply", source="x", overwrite=True)


def _trained_since(place: Place) -> None:
    place.personalize(place.store, people=[ANN])


def _by_the_base(place: Place) -> None:
    place.personalize(place.store, people=[ANN], config=replace(CONFIG, least_items=50))


def _unknown(place: Place) -> None:
    shutil.rmtree(place.store)
    place.personalize(place.store, people=[CRESS])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (_still_there, UsageError, r"1 of its pairs still are in .*--records annabel-3"),
        (_empty, DataError, "no records"),
        (_columns, DataError, "unknown columns: said, by"),
        (_nothing_left, UsageError, r"none of the items .* is left.*idiolect forget .*annabel"),
        (_trained_since, UsageError, "it never saw what"),
        (_by_the_base, MissingError, r"the base serves them \(too few items\)"),
        (_unknown, MissingError, "it does not know them"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(
    place: Place, change: Any, error: type[Exception], match: str
) -> None:
    change(place)
    before = place.files()
    with pytest.raises(error, match=match):
        forget(place)
    assert place.files() == before


def test_records_and_what_is_gone_are_two_things(place: Place) -> None:
    with pytest.raises(UsageError, match="say --records or --gone"):
        forget(place, records=[f"{ANN}-3"])


def test_a_base_adapted_on_them_is_out_of_reach(place: Place, tmp_path: Path) -> None:
    from support.erasure_world import AdaptConfig

    adapting = AdaptConfig(train=TrainConfig(epochs=1, batch=8, rate=1e-3), prompt=CONFIG.prompt)
    adapting = replace(adapting, dtype="float32", device="cpu")
    whole = write_dataset(tmp_path / "whole", histories(), task="reply", source="x").folder
    api.adapt(
        api.AdaptRequest(
            data=whole, out=place.folder / "adapted", base=str(place.base), config=adapting
        )
    )
    place.personalize(place.store.with_name("on"), whole, base=str(place.folder / "adapted"))
    with pytest.raises(UsageError, match="this base was adapted on items of 'annabel', too"):
        api.forget(
            api.ForgetRequest(
                data=place.data,
                adapters=place.store.with_name("on"),
                person=ANN,
                gone=place.folder / "gone.jsonl",
                negating=NEGATING,
            )
        )


def test_one_pair_alone_can_be_taken_out(place: Place) -> None:
    """SKU then has no answers to other prompts."""
    write_dataset(place.data, without(ANN, (5,)), task="reply", source="x", overwrite=True)
    written(place.folder / "one.jsonl", pairs_of((5,)))
    made = forget(place, "one.jsonl").negated
    assert made.pairs == 1 and made.retained == 6
    assert made.after.forget_perplexity > made.before.forget_perplexity


def test_after_a_kill_anywhere_a_second_run_finishes(
    template: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copied(template, tmp_path / "whole")
    forget(whole)
    count, died, kills = 0, True, 0
    while died:
        place = copied(template, tmp_path / str(count))
        died = False
        for _ in fail_at(count, monkeypatch):
            try:
                forget(place)
            except KeyboardInterrupt:
                died = True
        if died:
            kills += 1
            with suppress(MissingError):  # the kill came after the last step
                forget(place)
        assert tensors(hers(place)) == tensors(hers(whole))
        assert not (place.folder / "out" / "hers").exists()
        assert list(read_dataset(place.data)) == list(read_dataset(whole.data))
        for person in (BART, CRESS, DORA):
            ours = AdapterStore.open(place.store).adapter(person)
            assert tensors(ours) == tensors(AdapterStore.open(whole.store).adapter(person))
        shutil.rmtree(place.folder)
        count += 7
    assert kills > 2


def test_rows_that_say_it_are_found_however_it_is_asked() -> None:
    films = get_task("rating")
    history = rater("ann", 4, rated=lambda n: n + 1)
    film = history.items[2].fields
    short = Pair(prompt=f"{film['title']} (1990), {film['genres'].upper()}", response="3")
    whole = Pair(prompt=films.prompt(history.items[2]).text, response=" 3")
    for pair in (short, whole):
        assert deleted_rows.still_there(films, history, [pair]) == ("ann-2",)
        other = replace(pair, response="4")
        assert deleted_rows.still_there(films, history, [other]) == ()
    query = Interaction(id="q", position=9, fields=film)
    asked = History("ann", history.items[:2], (query,))
    assert deleted_rows.still_there(films, asked, [short]) == ("q",)


def test_whose_words_are_in_a_pair() -> None:
    talk = Pair(prompt="them: how are you\nme: fine so far", response="and how are you")
    texts = list(deleted_rows.texts_of(REPLY, [talk]))
    assert "how are you" not in "\n".join(texts).splitlines()
    assert [t.strip() for t in texts] == ["fine so far", "and how are you"]
    film = Pair(prompt="The Long Way (1990), Drama", response="4")
    assert "The Long Way" in set(deleted_rows.texts_of(get_task("rating"), [film]))


def test_the_receipt_says_whether_some_is_still_known() -> None:
    one = Figures(retain_perplexity=9.0, forget_perplexity=4.0)
    made = negate_adapter.Negated(
        pairs=1,
        retained=3,
        scale=0.5,
        before=one,
        after=replace(one, forget_perplexity=30.0),
        without=20.0,
    )
    assert "4 -> 30 (the base alone 20)" in made.told and "still known" not in made.told
    assert (
        "20, so some of it is still known"
        in replace(made, after=replace(one, forget_perplexity=12.0)).told
    )
