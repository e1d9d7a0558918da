"""Deleted records are negated in the adapter, and everything derived from it is erased or
rebuilt."""

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
from idiolect.erasure.negation import deleted_rows, negate_adapter
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
from idiolect.unlearning.run import Perplexities, UnlearnConfig
from support.crash import fail_at
from support.erasure_world import (
    ANN,
    BART,
    CONFIG,
    CRESS,
    DORA,
    ErasureWorld,
    build_trained_world,
    copy_world,
    make_histories,
    make_sentence,
)
from support.tiny_people import make_rater, to_tensor_bytes

DELETED = (2, 5)
UNLEARNING = UnlearnConfig(
    lora=LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj")),
    train=TrainConfig(rate=0.02, steps=6, batch=2),
    answer_tokens=40,
    retain_bound=1.2,
)
REPLY = get_task("reply")


def make_deleted_pairs(numbers: Sequence[int] = DELETED) -> list[Pair]:
    """Return pairs of some of Annabel's items, as in training."""
    items = {i.id: i for h in make_histories() if h.person == ANN for i in h.items}
    found = [items[f"{ANN}-{n}"] for n in numbers]
    return [Pair(prompt=i.fields["context"], response=i.fields["reply"]) for i in found]


def write_pairs(file: Path, pairs: Sequence[Pair]) -> Path:
    lines = [json.dumps({"prompt": p.prompt, "response": p.response}) for p in pairs]
    file.write_text("\n".join(lines) + "\n")
    return file


def make_histories_without(person: str, numbers: Sequence[int]) -> list[History]:
    """Return all histories, without some rows of one person."""
    gone = {f"{person}-{n}" for n in numbers}
    return [
        replace(h, items=tuple(i for i in h.items if i.id not in gone)) for h in make_histories()
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ErasureWorld:
    """A world in which Annabel's adapter was trained on all items, and two of her rows were deleted
    later."""
    place = build_trained_world(tmp_path_factory.mktemp("gone") / "all")
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
    write_dataset(
        place.data, make_histories_without(ANN, DELETED), task="reply", source="x", overwrite=True
    )
    write_pairs(place.folder / "gone.jsonl", make_deleted_pairs())
    return place


@pytest.fixture
def place(template: ErasureWorld, tmp_path: Path) -> ErasureWorld:
    return copy_world(template, tmp_path / "all")


def forget(place: ErasureWorld, file: str = "gone.jsonl", **options: Any) -> Any:
    arguments: dict[str, Any] = {"negating": UNLEARNING} | options
    return place.forget(gone=place.folder / file, **arguments)


def get_her_adapter(place: ErasureWorld) -> LoraAdapter:
    found = AdapterStore.open(place.store).get_adapter(ANN)
    assert found is not None
    return require_lora(found)


def list_effects(done: Any, outcome: str) -> set[tuple[str, str, str]]:
    return {(e.what, e.where.name, e.person) for e in done.effects if e.outcome == outcome}


def test_forget_deleted_records_negates_adapter_and_erases_derived_artifacts(
    place: ErasureWorld,
) -> None:
    store = AdapterStore.open(place.store)
    numbers = [raw for raw in to_tensor_bytes(store.get_adapter(ANN)) if any(raw)]
    others = {p: to_tensor_bytes(store.get_adapter(p)) for p in (CRESS, DORA)}
    done = forget(place, verify=True)
    _check_measurements(done)
    # Her adapter is the negated one, and no byte of the old one is left anywhere.
    store, record = AdapterStore.open(place.store), AdapterStore.open(place.store).get_record(ANN)
    assert record is not None and record.made_by.startswith("negated ")
    assert record.served == "adapter" and record.gate_adapter is None
    assert get_her_adapter(place).config == store.adapter_config, "the rank is that of the store"
    assert {p: to_tensor_bytes(store.get_adapter(p)) for p in others} == others
    assert not any(n in raw for raw in place.read_files().values() for n in numbers)
    # Copies of her adapter are gone; Cressida's export is not.
    assert list_effects(done, "deleted") == {("exported adapter", "hers", "")}
    assert (place.folder / "out" / "cress").is_dir()
    assert list_effects(done, "discarded") == {("adapter", "copies", "imported")}
    assert list_effects(done, "rebuilt") == {("adapter", "store", p) for p in (ANN, BART)}
    assert (done.left, done.unreadable, done.records) == ((), (), ())
    assert done.kept == (place.folder / "gone.jsonl",) and done.kept[0].is_file()
    assert (
        api.predict(api.PredictRequest(store=place.store, person=ANN, text="them: hello")).served_by
        == "adapter"
    )
    # The ledger records the negation.
    event = Ledger(place.store / "ledger").read_entries_of(ANN)[-1]
    assert event.event == "records negated" and event.details["pairs"] == len(DELETED)


def _check_measurements(done: Any) -> None:
    made = done.negated
    assert (done.gone, made.pairs, made.retained) == (2, 2, 5)
    assert made.after.forget_perplexity > 1.01 * made.before.forget_perplexity
    assert made.after.retain_perplexity <= 1.2 * made.before.retain_perplexity
    assert made.without > 1


def test_forget_deleted_records_redacts_quotes(place: ErasureWorld) -> None:
    """Quotes are redacted in his lines and in her own later ones, and nowhere else."""
    done = forget(place)
    data = read_dataset(place.data)
    assert not any(make_sentence(ANN, n).encode() in repr([*data]).encode() for n in DELETED)
    assert make_sentence(ANN, 3).encode() in repr([*data]).encode()
    assert list_effects(done, "redacted") == {("history", "data", BART), ("history", "data", ANN)}
    assert [i.id for i in data.read_history(ANN).items] == [f"{ANN}-{n}" for n in (0, 1, 3, 4, 6)]


def test_personalize_retrains_exactly_after_negation(place: ErasureWorld, tmp_path: Path) -> None:
    forget(place)
    assert place.personalize(place.store).trained == (ANN,)
    place.personalize(tmp_path / "fresh", people=[ANN])
    assert to_tensor_bytes(get_her_adapter(place)) == to_tensor_bytes(
        AdapterStore.open(tmp_path / "fresh").get_adapter(ANN)
    )


def test_forget_deleted_records_is_reproducible(
    template: ErasureWorld, place: ErasureWorld, tmp_path: Path
) -> None:
    forget(place)
    other, third = (
        copy_world(template, tmp_path / "other"),
        copy_world(template, tmp_path / "third"),
    )
    forget(other)
    forget(third, negating=replace(UNLEARNING, train=replace(UNLEARNING.train, seed=1)))
    assert (
        to_tensor_bytes(get_her_adapter(place))
        == to_tensor_bytes(get_her_adapter(other))
        != to_tensor_bytes(get_her_adapter(third))
    )


def test_forget_deleted_records_twice_changes_nothing(place: ErasureWorld) -> None:
    forget(place)
    before = place.read_files()
    with pytest.raises(MissingError, match="were already removed from the adapter of 'annabel'"):
        forget(place)
    again = forget(place, verify=True)
    assert (again.effects, again.left, again.negated) == ((), (), None)
    assert place.read_files() == before


@pytest.mark.finding("dry-run-effects")
def test_forget_deleted_records_dry_run_changes_nothing(place: ErasureWorld) -> None:
    before = place.read_files()
    done = forget(place, dry_run=True)
    assert place.read_files() == before and not done.done and done.negated is None
    assert ("adapter", "store", ANN) in list_effects(done, "rebuilt")
    assert ("exported adapter", "hers", "") in list_effects(done, "deleted")
    assert ("adapter", "copies", "imported") in list_effects(done, "discarded")
    # The real run has the same effects, in the same words.
    assert forget(place).effects == done.effects


def test_forget_deleted_records_removes_rows_from_dataset_copies(place: ErasureWorld) -> None:
    write_dataset(place.folder / "old", make_histories(), task="reply", source="x")
    done = forget(place, verify=True)
    assert ("records", "old", ANN) in list_effects(done, "removed") and done.left == ()
    old, data = (
        read_dataset(f).read_history(ANN).items for f in (place.folder / "old", place.data)
    )
    assert [(i.id, i.fields) for i in old] == [(i.id, i.fields) for i in data]


def test_verification_finds_copies_of_deleted_text(place: ErasureWorld) -> None:
    (place.folder / "notes.txt").write_text(f"She wrote {make_sentence(ANN, 5)}.")
    done = forget(place, verify=True)
    assert [hit.where.name for hit in done.left] == ["notes.txt"]


def test_negation_without_effect_changes_nothing(
    place: ErasureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is measured after truncation: here truncation returns the old adapter."""
    old, before = get_her_adapter(place), place.read_files()
    monkeypatch.setattr(unlearning_run, "truncate_rank", lambda adapter, config: old)
    with pytest.raises(
        UsageError, match=r"knows as much as before.*perplexity .* -> .*nothing was changed"
    ):
        forget(place)
    assert place.read_files() == before


def test_negation_beyond_retain_bound_changes_nothing(
    place: ErasureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = replace(
        get_her_adapter(place),
        pairs={p: (a, b + 3) for p, (a, b) in get_her_adapter(place).pairs.items()},
    )
    before = place.read_files()
    monkeypatch.setattr(unlearning_run, "truncate_rank", lambda adapter, config: worse)
    with pytest.raises(
        UsageError, match=r"no scale .* keeps the retain perplexity within 1\.2 times"
    ):
        forget(place)
    assert place.read_files() == before


def _leave_row(place: ErasureWorld) -> None:
    write_pairs(place.folder / "gone.jsonl", make_deleted_pairs((2, 3)))


def _empty_pairs_file(place: ErasureWorld) -> None:
    (place.folder / "gone.jsonl").write_text("")


def _write_unknown_columns(place: ErasureWorld) -> None:
    (place.folder / "gone.jsonl").write_text('{"said": "what", "by": "ann"}\n')


def _remove_all_her_items(place: ErasureWorld) -> None:
    left = [h for h in make_histories() if h.person != ANN]
    write_dataset(place.data, left, task="reply", source="x", overwrite=True)


def _retrain(place: ErasureWorld) -> None:
    place.personalize(place.store, people=[ANN], allow_older=True)


def _serve_with_base(place: ErasureWorld) -> None:
    config = replace(CONFIG, least_items=50)
    place.personalize(place.store, people=[ANN], config=config, allow_older=True)


def _drop_from_store(place: ErasureWorld) -> None:
    shutil.rmtree(place.store)
    place.personalize(place.store, people=[CRESS])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (_leave_row, UsageError, r"1 of its pairs are still in .*--records annabel-3"),
        (_empty_pairs_file, DataError, "no records"),
        (_write_unknown_columns, DataError, "unknown columns: said, by"),
        (_remove_all_her_items, UsageError, r"no items .* are left.*idiolect forget .*annabel"),
        (_retrain, UsageError, "it never saw the pairs"),
        (_serve_with_base, MissingError, r"the base serves them \(too few items\)"),
        (_drop_from_store, MissingError, "it is not in the store"),
    ],
)
def test_forget_deleted_records_rejects_invalid_calls_without_changes(
    place: ErasureWorld, change: Any, error: type[Exception], match: str
) -> None:
    change(place)
    before = place.read_files()
    with pytest.raises(error, match=match):
        forget(place)
    assert place.read_files() == before


def test_forget_rejects_records_together_with_deleted_pairs(place: ErasureWorld) -> None:
    with pytest.raises(UsageError, match="give --records or --gone"):
        forget(place, records=[f"{ANN}-3"])


def test_forget_deleted_records_rejects_base_adapted_on_the_person(
    place: ErasureWorld, tmp_path: Path
) -> None:
    from support.erasure_world import AdaptConfig

    adapt_config = AdaptConfig(
        train=TrainConfig(epochs=1, batch=8, rate=1e-3), prompt=CONFIG.prompt
    )
    adapt_config = replace(adapt_config, dtype="float32", device="cpu")
    whole = write_dataset(tmp_path / "whole", make_histories(), task="reply", source="x").folder
    api.adapt(
        api.AdaptRequest(
            data=whole, out=place.folder / "adapted", base=str(place.base), config=adapt_config
        )
    )
    # The store's base was adapted on all items, including the deleted ones.
    place.personalize(place.store.with_name("on"), whole, base=str(place.folder / "adapted"))
    with pytest.raises(UsageError, match="this base was also adapted on items of 'annabel'"):
        api.forget(
            api.ForgetRequest(
                data=place.data,
                adapters=place.store.with_name("on"),
                person=ANN,
                gone=place.folder / "gone.jsonl",
                negating=UNLEARNING,
            )
        )


def test_forget_deleted_records_handles_a_single_pair(place: ErasureWorld) -> None:
    """With one pair, SKU has no answers to other prompts."""
    write_dataset(
        place.data, make_histories_without(ANN, (5,)), task="reply", source="x", overwrite=True
    )
    write_pairs(place.folder / "one.jsonl", make_deleted_pairs((5,)))
    made = forget(place, "one.jsonl").negated
    assert made.pairs == 1 and made.retained == 6
    assert made.after.forget_perplexity > made.before.forget_perplexity


def test_forget_deleted_records_finishes_after_any_crash(
    template: ErasureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copy_world(template, tmp_path / "whole")
    forget(whole)
    count, crashed, crashes = 0, True, 0
    while crashed:
        place = copy_world(template, tmp_path / str(count))
        crashed = False
        for _ in fail_at(count, monkeypatch):
            try:
                forget(place)
            except KeyboardInterrupt:
                crashed = True
        if crashed:
            crashes += 1
            with suppress(MissingError):  # the crash came after the last step
                forget(place)
        assert to_tensor_bytes(get_her_adapter(place)) == to_tensor_bytes(get_her_adapter(whole))
        assert not (place.folder / "out" / "hers").exists()
        assert list(read_dataset(place.data)) == list(read_dataset(whole.data))
        for person in (BART, CRESS, DORA):
            ours = AdapterStore.open(place.store).get_adapter(person)
            assert to_tensor_bytes(ours) == to_tensor_bytes(
                AdapterStore.open(whole.store).get_adapter(person)
            )
        shutil.rmtree(place.folder)
        count += 7
    assert crashes > 2


def test_find_remaining_rows_matches_both_prompt_forms() -> None:
    films = get_task("rating")
    history = make_rater("ann", 4, rated=lambda n: n + 1)
    film = history.items[2].fields
    short = Pair(prompt=f"{film['title']} (1990), {film['genres'].upper()}", response="3")
    whole = Pair(prompt=films.prompt(history.items[2]).text, response=" 3")
    for pair in (short, whole):
        assert deleted_rows.find_remaining_rows(films, history, [pair]) == ("ann-2",)
        other = replace(pair, response="4")
        assert deleted_rows.find_remaining_rows(films, history, [other]) == ()
    query = Interaction(id="q", position=9, fields=film)
    asked = History("ann", history.items[:2], (query,))
    assert deleted_rows.find_remaining_rows(films, asked, [short]) == ("q",)


def test_iter_own_texts_skips_other_people() -> None:
    talk = Pair(prompt="them: how are you\nme: fine so far", response="and how are you")
    texts = list(deleted_rows.iter_own_texts(REPLY, [talk]))
    assert "how are you" not in "\n".join(texts).splitlines()
    assert [t.strip() for t in texts] == ["fine so far", "and how are you"]
    film = Pair(prompt="The Long Way (1990), Drama", response="4")
    assert "The Long Way" in set(deleted_rows.iter_own_texts(get_task("rating"), [film]))


def test_negation_result_says_whether_pairs_are_still_known() -> None:
    one = Perplexities(retain_perplexity=9.0, forget_perplexity=4.0)
    made = negate_adapter.NegationResult(
        pairs=1,
        retained=3,
        scale=0.5,
        before=one,
        after=replace(one, forget_perplexity=30.0),
        without=20.0,
    )
    assert (
        "4 -> 30 (the base alone 20)" in made.summary_text
        and "still known" not in made.summary_text
    )
    assert (
        "20, so some are still known"
        in replace(made, after=replace(one, forget_perplexity=12.0)).summary_text
    )
