"""Personalizer: who is trained and who is unchanged; the gate; and kills."""

from __future__ import annotations

import gc
import json
import multiprocessing
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import to_plain
from idiolect.events import Message, Progress
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.privacy.ledger import Ledger
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.runs import personalize as module
from idiolect.training.runs.personalize import Personalizer
from idiolect.training.runs.plan import Mode, PersonalConfig, RunContext
from idiolect.training.runs.summary import PersonalSummary
from idiolect.training.schedule import TrainConfig
from support.killed_personalizing import PEOPLE, SHARD, personalize_all
from support.tiny_people import (
    ENGINE,
    GATED,
    LORA,
    RATING,
    UNGATED,
    make_rater,
    random_adapter,
    to_tensor_bytes,
)

ANN, BOB, CY = make_rater("ann", 9), make_rater("bob", 12), make_rater("cy", 7)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[TrainingJob]:
    """All jobs that the engine gets, in order."""
    seen: list[TrainingJob] = []
    train_many = module.train_many

    def record_jobs(base: Base, jobs: Sequence[TrainingJob], *rest: Any, **options: Any) -> Any:
        seen.extend(jobs)
        return train_many(base, jobs, *rest, **options)

    monkeypatch.setattr(module, "train_many", record_jobs)
    return seen


class Place:
    """A store that is personalized several times."""

    def __init__(self, folder: Path, base: Base) -> None:
        self.folder, self.base = folder, base

    def run(
        self,
        *histories: History,
        config: PersonalConfig = UNGATED,
        mode: Mode = "afresh",
        streamed: Iterator[History] | None = None,
        allow_older: bool = True,
        **options: Any,
    ) -> PersonalSummary:
        store = AdapterStore.create(
            self.folder,
            self.base,
            source="tiny",
            task="rating",
            config=config.lora,
            settings=to_plain(config),
        )
        context = RunContext(
            base=self.base,
            task=RATING,
            config=config,
            engine=ENGINE,
            mode=mode,
            allow_older=allow_older,
        )
        with store.lock_for_writing():
            return Personalizer(context, store, **options).run(streamed or histories)

    @property
    def store(self) -> AdapterStore:
        return AdapterStore.open(self.folder)

    def read_bytes_of(self, *people: str) -> list[list[bytes]]:
        store = self.store
        return [to_tensor_bytes(store.get_adapter(person)) for person in people]


@pytest.fixture
def place(base: Base, tmp_path: Path) -> Place:
    return Place(tmp_path / "store", base)


def test_personalizer_second_run_changes_nothing(place: Place, jobs: list[TrainingJob]) -> None:
    first = place.run(ANN, BOB)
    assert (first.trained, first.unchanged) == (("ann", "bob"), ())
    assert first.items == 21 and first.tokens > 0
    files = {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()}
    jobs.clear()
    second = place.run(ANN, BOB)
    assert (second.trained, second.unchanged, jobs) == ((), ("ann", "bob"), [])
    assert {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()} == files


def test_personalizer_trains_only_grown_history(place: Place) -> None:
    """Invariant 2; and the outdated adapter does not stay on disk."""
    place.run(ANN, BOB, CY)
    before = dict(zip(("ann", "bob", "cy"), place.read_bytes_of("ann", "bob", "cy"), strict=True))
    done = place.run(ANN, make_rater("bob", 13), CY)
    assert (done.trained, done.unchanged) == (("bob",), ("ann", "cy"))
    assert place.read_bytes_of("ann", "cy") == [before["ann"], before["cy"]]
    assert place.read_bytes_of("bob") != [before["bob"]]
    # Compacting removes the outdated adapter from the shard files.
    shards = b"".join(p.read_bytes() for p in (place.folder / "shards").iterdir())
    assert max(before["bob"], key=len) not in shards


@pytest.mark.finding("older-dataset")
@pytest.mark.parametrize("mode", ["afresh", "continue"])
def test_personalizer_keeps_adapter_if_history_is_older(place: Place, mode: Mode) -> None:
    """Fewer items, or none that are as new, must not replace the adapter silently."""
    place.run(ANN, BOB)
    before = place.read_bytes_of("ann", "bob")
    fewer = make_rater("bob", 11)
    moved = [replace(i, time=(i.time or 0) - 1e6) for i in BOB.items]
    for older in (fewer, History.from_interactions("bob", moved)):
        done = place.run(ANN, older, mode=mode, allow_older=False)
        assert (done.trained, done.unchanged, done.older) == ((), ("ann",), ("bob",))
        assert place.read_bytes_of("ann", "bob") == before
    # A corrected history of the same length, and a longer one, are no older ones.
    corrected = [replace(i, fields={**i.fields, "rating": "1"}) for i in BOB.items]
    again = History.from_interactions("bob", corrected)
    assert place.run(again, allow_older=False).trained == ("bob",)
    assert place.run(make_rater("bob", 13), allow_older=False).trained == ("bob",)
    assert place.run(fewer, allow_older=True).trained == ("bob",)


def test_personalizer_with_new_person_leaves_others_unchanged(place: Place) -> None:
    place.run(ANN, CY)
    before, records = (
        place.read_bytes_of("ann", "cy"),
        [place.store.get_record(p) for p in ("ann", "cy")],
    )
    assert place.run(ANN, BOB, CY).trained == ("bob",)
    assert place.read_bytes_of("ann", "cy") == before
    assert [place.store.get_record(p) for p in ("ann", "cy")] == records
    assert place.run(BOB).unchanged == ("bob",)  # the others stay in the store
    assert place.read_bytes_of("ann", "cy") == before


def test_personalizer_with_other_settings_trains_all_people_again(
    place: Place, jobs: list[TrainingJob]
) -> None:
    place.run(ANN, BOB)
    before = place.read_bytes_of("ann", "bob")
    for config in (
        replace(UNGATED, train=TrainConfig(batch=4, epochs=1, rate=0.01)),
        replace(UNGATED, lora=replace(LORA, dropout=0.5)),
        replace(UNGATED, last_items=6),
    ):
        jobs.clear()
        assert place.run(ANN, BOB, config=config).trained == ("ann", "bob")
        assert [job.initial_adapter for job in jobs] == [None, None]
        assert all(a != b for a, b in zip(place.read_bytes_of("ann", "bob"), before, strict=True))
    assert [len(job.examples) for job in jobs] == [6, 6]
    assert place.run(ANN, BOB).trained == ("ann", "bob")
    assert place.read_bytes_of("ann", "bob") == before


def test_personalizer_continue_trains_previous_adapter_on_new_items(
    place: Place, jobs: list[TrainingJob]
) -> None:
    """Even if there are fewer new items than ``least_items``."""
    place.run(ANN, BOB)
    before, bobs = place.read_bytes_of("ann", "bob")
    examples = jobs[0].examples
    jobs.clear()
    done = place.run(make_rater("ann", 11), BOB, mode="continue")
    assert (done.trained, done.unchanged, done.too_few) == (("ann",), ("bob",), ())
    (job,) = jobs
    assert to_tensor_bytes(job.initial_adapter) == before
    assert len(job.examples) == 2 and not set(job.examples) & set(examples)
    assert place.read_bytes_of("bob") == [bobs] and place.read_bytes_of("ann") != [before]
    assert place.run(make_rater("ann", 11), mode="continue").trained == ()


def test_personalizer_continue_without_new_items_keeps_adapter(
    place: Place, jobs: list[TrainingJob]
) -> None:
    """The growing holdout takes the new item."""
    loose = replace(GATED, gate=replace(GATED.gate, share=0.3, least=1))
    place.run(make_rater("ann", 11), config=loose, keep_all=True)
    before = place.read_bytes_of("ann")
    assert loose.gate.count_holdout(12) == loose.gate.count_holdout(11) + 1
    done = place.run(make_rater("ann", 12), config=loose, mode="continue")
    assert (done.trained, len(jobs), place.read_bytes_of("ann")) == ((), 1, before)


def test_personalizer_continue_ignores_item_without_answer(
    place: Place, jobs: list[TrainingJob]
) -> None:
    place.run(ANN)
    before = place.read_bytes_of("ann")
    *known, last = make_rater("ann", 10).items
    silent = replace(last, fields={"title": "Heat"})
    done = place.run(History("ann", (*known, silent)), mode="continue")
    assert (done.trained, len(jobs), place.read_bytes_of("ann")) == ((), 1, before)


def test_personalizer_continue_with_changed_past_trains_afresh(
    place: Place, jobs: list[TrainingJob]
) -> None:
    place.run(ANN)
    jobs.clear()
    grown = make_rater("ann", 10)
    place.run(replace(grown, items=grown.items[1:]), mode="continue")
    other = replace(UNGATED, train=TrainConfig(batch=3, epochs=1))
    place.run(replace(grown, items=grown.items[1:]), mode="continue", config=other)
    assert [(job.initial_adapter, len(job.examples)) for job in jobs] == [(None, 9), (None, 9)]


def test_personalizer_continue_starts_from_imported_adapter(
    place: Place, jobs: list[TrainingJob], base: Base
) -> None:
    place.run(BOB)
    store, own = place.store, random_adapter(base, 3)
    with store.lock_for_writing():
        store.add([(AdapterRecord(person="ann", served="adapter", made_by="imported"), own)])
    jobs.clear()
    place.run(ANN, mode="continue")
    assert (
        to_tensor_bytes(jobs[0].initial_adapter) == to_tensor_bytes(own)
        and len(jobs[0].examples) == 9
    )


def test_personalizer_with_too_few_items_reports_them_without_adapter(place: Place) -> None:
    dee, nobody = make_rater("dee", 4), History("nobody", ())
    done = place.run(ANN, dee, nobody)
    assert (done.trained, done.too_few) == (("ann",), ("dee", "nobody"))
    assert place.store.get_adapter("dee") is None
    record = place.store.get_record("dee")
    assert record is not None and record.served == "too few items"
    again = place.run(ANN, dee, nobody)
    assert (again.trained, again.too_few) == ((), ("dee", "nobody"))
    grown = place.run(ANN, make_rater("dee", 5))
    assert (grown.trained, grown.too_few) == (("dee",), ())
    assert place.store.get_adapter("dee") is not None


def test_personalizer_counts_unusable_items(place: Place) -> None:
    items = [replace(i, fields={"title": "Heat"}) if i.position < 5 else i for i in ANN.items]
    heard: list[Any] = []
    done = place.run(History("ann", tuple(items)), listener=heard.append)
    assert (done.unusable_items, done.too_few) == (5, ("ann",))
    assert any(
        "items left out (no answer, or too long): 5" in e.text
        for e in heard
        if isinstance(e, Message)
    )


GOOD = replace(GATED, train=TrainConfig(batch=4, epochs=6, rate=0.02))
DEE = make_rater("dee", 20, rated=lambda n: 5 if n >= 17 else int("1" * 30))
"""The first items teach what is wrong for the last ones."""
ELI = make_rater("eli", 20, rated=lambda _: 4)


def get_gate_decision(place: Place, person: str) -> tuple[str, float]:
    """Return how a person is served, and by how much the adapter raises the holdout loss."""
    record = place.store.get_record(person)
    assert record is not None and record.gate_base is not None and record.gate_adapter is not None
    return record.served, record.gate_adapter - record.gate_base


def test_gate_rejects_harmful_adapter(place: Place, jobs: list[TrainingJob]) -> None:
    done = place.run(DEE, config=GOOD)
    assert (done.trained, done.gated_off) == (("dee",), ("dee",))
    assert [len(job.examples) for job in jobs] == [17]
    served, added = get_gate_decision(place, "dee")
    assert served == "gated" and added > 0
    assert place.store.get_adapter("dee") is None
    again = place.run(DEE, config=GOOD)
    assert (again.trained, again.gated_off) == ((), ("dee",))


def test_gate_keeps_helpful_adapter(place: Place) -> None:
    assert place.run(ELI, config=GOOD).gated_off == ()
    served, added = get_gate_decision(place, "eli")
    assert served == "adapter" and added < 0
    assert place.store.get_adapter("eli") is not None


def test_personalizer_without_gate_trains_on_all_items(
    place: Place, jobs: list[TrainingJob]
) -> None:
    off = replace(GOOD, gate=replace(GOOD.gate, on=False))
    assert place.run(DEE, config=off).gated_off == ()
    assert [len(job.examples) for job in jobs] == [20]
    record = place.store.get_record("dee")
    assert record is not None and (record.items, record.gate_base) == (20, None)
    assert place.store.get_adapter("dee") is not None


def test_personalizer_with_keep_all_keeps_gated_adapter(place: Place) -> None:
    assert place.run(DEE, config=GOOD, keep_all=True).gated_off == ("dee",)
    assert get_gate_decision(place, "dee")[0] == "gated"
    assert place.store.get_adapter("dee") is not None


def test_personalizer_holds_one_group_in_memory(place: Place) -> None:
    """No adapter of an earlier group stays in memory, and no history is read before its group."""
    read: list[str] = []
    seen: list[tuple[int, int, int]] = []

    def stream_histories() -> Iterator[History]:
        for number in range(12):
            read.append(f"p{number:02d}")
            yield make_rater(read[-1], 8)

    def watch(event: Any) -> None:
        if isinstance(event, Progress) and event.stage == "people":
            gc.collect()
            alive = [type(thing) for thing in gc.get_objects()]
            seen.append((len(read), alive.count(LoraAdapter), alive.count(Example)))

    gc.collect()
    before = [type(thing) for thing in gc.get_objects()]
    adapters, examples = before.count(LoraAdapter), before.count(Example)
    done = place.run(streamed=stream_histories(), shard=3, listener=watch)
    assert len(done.trained) == 12
    assert [pulled for pulled, _, _ in seen[:-1]] == [0, 3, 6, 9, 12]
    assert max(kept for _, kept, _ in seen) <= adapters + 3
    assert max(count for _, _, count in seen) <= examples + 3 * 8


def test_personalizer_progress_counts_all_people(place: Place) -> None:
    heard: list[Any] = []
    place.run(ANN)
    place.run(ANN, BOB, make_rater("dee", 2), CY, shard=1, listener=heard.append)
    passed = [(e.done, e.total) for e in heard if isinstance(e, Progress) and e.stage == "people"]
    assert passed == [(0, 4), (2, 4), (4, 4), (4, 4)]


def count_steps(metrics: Path) -> int:
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def test_personalizer_killed_repeatedly_ends_with_same_bytes(tmp_path: Path) -> None:
    """Invariant 5: ``kill -9`` during steps, during groups and between them."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.training.runs.personalize", "idiolect.models.tiny"])
    whole, metrics = tmp_path / "whole", tmp_path / "whole.jsonl"
    personalize_all(str(whole), str(metrics))
    needed = count_steps(metrics)
    killed, metrics = tmp_path / "killed", tmp_path / "killed.jsonl"
    moments, kills, child = random.Random(1), 0, None
    # Start the run until it ends by itself; kill it five times at random moments.
    while child is None or child.exitcode != 0:
        child = processes.Process(target=personalize_all, args=(str(killed), str(metrics)))
        child.start()
        until = count_steps(metrics) + moments.randint(1, needed // 3)
        while child.is_alive() and (count_steps(metrics) < until or kills == 5):
            time.sleep(0.001)
        time.sleep(moments.random() * 0.02)
        child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        kills += child.exitcode != 0
    assert kills >= 3
    # Same people, records and bytes as the run that was not killed; no working files are left.
    one, other = AdapterStore.open(whole), AdapterStore.open(killed)
    assert one.people == other.people and len(one.people) == len(PEOPLE)
    for person in one.people:
        assert one.get_record(person) == other.get_record(person)
        if one.get_adapter(person) is not None:
            assert to_tensor_bytes(one.get_adapter(person)) == to_tensor_bytes(
                other.get_adapter(person)
            )
    assert sorted(p.name for p in other.folder.iterdir()) == ["ledger", "shards", "store.json"]
    ledger = Ledger(other.folder / "ledger")
    trained = [person for person in one.people if person != "few"]
    assert all(ledger.read_entries_of(person) for person in trained) and not ledger.read_entries_of(
        "few"
    )
    assert len(ledger.read_entries()) <= len(trained) + SHARD * kills
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert needed <= len(lines) <= needed + kills  # only the interrupted step runs again
