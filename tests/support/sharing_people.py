"""People of a store who might share: some who learned little, one who learned by heart."""

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
from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.config import to_plain
from idiolect.events import Event, Listener, Measured, silent
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.harm import HarmConfig
from idiolect.pieces.sharing.selection import SharersConfig
from idiolect.pieces.sharing.sharing import ShareConfig
from idiolect.pieces.sharing.train_gates import GatesConfig
from idiolect.privacy.ledger import Entry, Ledger
from idiolect.prompts.context import ContextConfig, Person
from idiolect.prompts.render import Prompter
from idiolect.training.engine.config import EngineConfig
from idiolect.training.jobs import Job
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.tiny_people import RATING, UNGATED, noisy, rater, save_tiny

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "k_proj", "v_proj", "o_proj"))
PERSONAL = replace(UNGATED, lora=LORA)
BY_HEART = TrainConfig(rate=0.02, epochs=40, batch=4, weight_decay=0.0)
CONFIG = ShareConfig(
    sharers=SharersConfig(strategy="most-active", sharers=9, least_items=5),
    gates=GatesConfig(steps=6, rate=0.01, batch=4),
    harm=HarmConfig(on=False),
)
ENGINE = EngineConfig(slots=2, checkpoint_seconds=0)
LITTLE = ("annabel", "bartholomew", "cressida")
"""Those who learned little."""
BY_HEART_NAME = "leopoldine"
"""Liked all films that her adapter was trained on, and none of the others: to the audit, which does
not ask why, that is learned by heart. The tiny model cannot learn a list."""
ASKED = 8
"""Queries with an answer that each of them has."""


@dataclass(frozen=True)
class Sharers:
    """A folder with a base, a dataset, and a store of the people's adapters."""

    folder: Path

    @cached_property
    def store(self) -> Path:
        return self.folder / "store"

    @cached_property
    def data(self) -> Path:
        return self.folder / "data"

    def adapters(self) -> AdapterStore:
        return AdapterStore.open(self.store)

    def events(self, kind: str) -> list[Entry]:
        """The ledger's events of a kind."""
        return [e for e in Ledger(self.store / "ledger").entries() if e.event == kind]

    def agree(self, *people: str, **options: Any) -> None:
        api.consent(api.ConsentRequest(store=self.store, people=people, scope="pieces", **options))

    def share(self, pool: Path, *people: str, listener: Listener = silent, **options: Any) -> Any:
        given: dict[str, Any] = {"config": CONFIG, "engine": ENGINE} | options
        request = api.ShareRequest(
            store=self.store, data=self.data, pool=pool, people=people, **given
        )
        return api.share(request, listener=listener)


def made(folder: Path) -> Sharers:
    """Everybody rated films; ``gus`` has no adapter, ``ida`` brought one from elsewhere."""
    base = save_tiny(folder / "base")
    names = (*LITTLE, BY_HEART_NAME, "gus", "ida")
    rated = {BY_HEART_NAME: lambda n: 5 if n < 15 else 1}
    histories = [
        rater(person, 12 + n + ASKED, rated=rated.get(person)).hold_out(ASKED)
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
    with store.writing():
        store.add([_entry(base, history, n) for n, history in enumerate(histories)])
    return Sharers(folder)


def _entry(base: Base, history: History, number: int) -> tuple[Record, LoraAdapter | None]:
    record = Record(
        person=history.person,
        served="gated" if history.person == "gus" else "adapter",
        made_by="made up",
        items=0 if history.person == "ida" else len(history.items),
        history=history.fingerprint(),
        steps=7,
    )
    if history.person == "gus":
        return record, None
    if history.person != BY_HEART_NAME:
        return record, noisy(base, number, LORA, size=0.05)
    asked = Person(history, RATING, Prompter(base.tokenizer, PERSONAL.prompt), ContextConfig())
    examples = [asked.item_example(n) for n in range(len(history.items))]
    job = Job(person=history.person, examples=tuple(e for e in examples if e is not None))
    return record, train_one(base, job, LORA, BY_HEART).adapter


def in_pool(pool: Pool, sharer: str) -> list[bytes]:
    """All that a pool holds of a sharer."""
    rows = [pool.gates(path)[pool.sharers.index(sharer)] for path in pool.sites]
    parts = [part for pair in pool.pieces(sharer).values() for part in pair]
    return [t.contiguous().numpy().tobytes() for t in (*rows, *parts)]


def die(folder: str, pool: str, where: str) -> None:
    """Share everyone who agreed, in a process that is killed at a place."""
    torch.set_num_threads(1)
    people = Sharers(Path(folder))

    def kill(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def listener(event: Event) -> None:
        if where == "gates" and isinstance(event, Measured) and event.values["step"] == 4:
            kill()

    places = {
        "pool": "idiolect.pieces.pool.pool.Pool.add",
        "records": "idiolect.pieces.pool.pool.write_records",
        "report": "idiolect.pieces.sharing.sharing.write_report",
    }
    if where in places:
        with mock.patch(places[where], kill):
            people.share(Path(pool))
    people.share(Path(pool), listener=listener)
