"""People of a store who might share: some whose adapters leak little, and one whose adapter
leaks."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from idiolect import api
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import to_plain
from idiolect.events import Event, Listener, Metrics, null_listener
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.harm import HarmConfig
from idiolect.pieces.sharing.selection import SharersConfig
from idiolect.pieces.sharing.sharing import ShareConfig
from idiolect.pieces.sharing.train_gates import GatesConfig
from idiolect.privacy.ledger import Ledger, LedgerEntry
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import PromptRenderer
from idiolect.training.engine.config import EngineConfig
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.tiny_people import RATING, UNGATED, make_rater, random_adapter, save_tiny_base

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "k_proj", "v_proj", "o_proj"))
PERSONAL = replace(UNGATED, lora=LORA)
BY_HEART_TRAINING = TrainConfig(rate=0.02, epochs=40, batch=4, weight_decay=0.0)
CONFIG = ShareConfig(
    sharers=SharersConfig(strategy="most-active", sharers=9, least_items=5),
    gates=GatesConfig(steps=6, rate=0.01, batch=4),
    harm=HarmConfig(on=False),
)
ENGINE = EngineConfig(slots=2, checkpoint_seconds=0)
LIGHT_LEARNERS = ("annabel", "bartholomew", "cressida")
"""People whose adapters leak little."""
BY_HEART_NAME = "leopoldine"
"""A person who liked all films that her adapter was trained on, and none of the others. The audit
cannot tell this from memorization. The tiny model is too small to memorize a list."""
QUERY_COUNT = 8
"""Number of queries with a known answer that each person has."""


@dataclass(frozen=True)
class SharingPeople:
    """A folder with a base, a dataset, and a store of the people's adapters."""

    folder: Path

    @cached_property
    def store(self) -> Path:
        return self.folder / "store"

    @cached_property
    def data(self) -> Path:
        return self.folder / "data"

    def open_adapters(self) -> AdapterStore:
        return AdapterStore.open(self.store)

    def read_events(self, kind: str) -> list[LedgerEntry]:
        """The ledger's events of a kind."""
        return [e for e in Ledger(self.store / "ledger").read_entries() if e.event == kind]

    def give_consent(self, *people: str, **options: Any) -> None:
        api.consent(api.ConsentRequest(store=self.store, people=people, scope="pieces", **options))

    def share(
        self, pool: Path, *people: str, listener: Listener = null_listener, **options: Any
    ) -> Any:
        given: dict[str, Any] = {"config": CONFIG, "engine": ENGINE} | options
        request = api.ShareRequest(
            store=self.store, data=self.data, pool=pool, people=people, **given
        )
        return api.share(request, listener=listener)


def build_sharing_people(folder: Path) -> SharingPeople:
    """Creates people who rated films; ``gus`` has no adapter, and ``ida``'s adapter was
    imported."""
    base = save_tiny_base(folder / "base")
    names = (*LIGHT_LEARNERS, BY_HEART_NAME, "gus", "ida")
    rated = {BY_HEART_NAME: lambda n: 5 if n < 15 else 1}
    histories = [
        make_rater(person, 12 + n + QUERY_COUNT, rated=rated.get(person)).hold_out(QUERY_COUNT)
        for n, person in enumerate(names)
    ]
    write_dataset(folder / "data", histories, task="rating", source="made up")
    store = AdapterStore.create(
        folder / "store",
        base,
        source=str(folder / "base"),
        task="rating",
        config=LORA,
        settings=to_plain(PERSONAL),
    )
    with store.lock_for_writing():
        store.add([_make_entry(base, history, n) for n, history in enumerate(histories)])
    return SharingPeople(folder)


def _make_entry(
    base: Base, history: History, number: int
) -> tuple[AdapterRecord, LoraAdapter | None]:
    record = AdapterRecord(
        person=history.person,
        served="gated" if history.person == "gus" else "adapter",
        made_by="made up",
        items=0 if history.person == "ida" else len(history.items),
        history=history.compute_fingerprint(),
        steps=7,
    )
    if history.person == "gus":
        return record, None
    if history.person != BY_HEART_NAME:
        return record, random_adapter(base, number, LORA, size=0.05)
    context = PersonContext(
        history, RATING, PromptRenderer(base.tokenizer, PERSONAL.prompt), ContextConfig()
    )
    examples = [context.build_item_example(n) for n in range(len(history.items))]
    job = TrainingJob(person=history.person, examples=tuple(e for e in examples if e is not None))
    return record, train_one(base, job, LORA, BY_HEART_TRAINING).adapter


def read_pool_bytes(pool: Pool, sharer: str) -> list[bytes]:
    """The bytes of all gates and pieces that a pool holds of a sharer."""
    rows = [pool.load_gates(path)[pool.sharers.index(sharer)] for path in pool.sites]
    parts = [part for pair in pool.load_pieces(sharer).values() for part in pair]
    return [t.contiguous().numpy().tobytes() for t in (*rows, *parts)]


def share_and_die(folder: str, pool: str, where: str) -> None:
    """Shares all people with consent, in a process that kills itself at a given point."""
    torch.set_num_threads(1)
    people = SharingPeople(Path(folder))

    def kill_process(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_at_gates(event: Event) -> None:
        if where == "gates" and isinstance(event, Metrics) and event.values["step"] == 4:
            kill_process()

    places = {
        "pool": "idiolect.pieces.pool.pool.Pool.add_sharers",
        "records": "idiolect.pieces.pool.pool.write_records",
        "report": "idiolect.pieces.sharing.sharing.write_report",
    }
    if where in places:
        with mock.patch(places[where], kill_process):
            people.share(Path(pool))
    people.share(Path(pool), listener=kill_at_gates)
