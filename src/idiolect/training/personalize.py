"""From histories to a store of adapters: trained shard by shard, gated, written.

Idempotent: a run that was killed, or is run again, trains only whom it must, and ends the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from idiolect.adapters.store import AdapterStore, Record
from idiolect.events import Listener, Note, Progress, silent
from idiolect.history import History
from idiolect.models import Base
from idiolect.profiles import Profile
from idiolect.retrieval import Encoder
from idiolect.tasks import Task
from idiolect.training.batched import EngineConfig, train_many
from idiolect.training.gate import mean_losses
from idiolect.training.jobs import Job, Trained
from idiolect.training.plan import Mode, PersonalConfig, Planned, Planner


@dataclass(frozen=True, kw_only=True)
class PersonalSummary:
    """What a run did, in people."""

    trained: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    gated_off: tuple[str, ...] = ()
    """Trained, but their adapter did not help on their held-out tail; the base serves them."""
    too_few: tuple[str, ...] = ()
    """Too few usable items; the base serves them."""
    unusable_items: int = 0
    """Items without an answer or too long for the prompt, left out."""
    items: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Personalizer:
    """Trains people of one task into one store."""

    def __init__(
        self,
        base: Base,
        task: Task,
        config: PersonalConfig,
        store: AdapterStore,
        *,
        engine: EngineConfig | None = None,
        shard: int = 32,
        profiles: Mapping[str, Sequence[Profile]] | None = None,
        encoder: Encoder | None = None,
        mode: Mode = "afresh",
        keep_all: bool = False,
        listener: Listener = silent,
    ) -> None:
        self.base, self.task, self.config, self.store = base, task, config, store
        self.engine, self.shard = engine or EngineConfig(), shard
        self.keep_all, self.listener = keep_all, listener
        self.planner = Planner(
            base, task, config, (store,), profiles=profiles, encoder=encoder, mode=mode
        )

    @property
    def checkpoint(self) -> Path:
        """Where the shard at work is checkpointed."""
        return self.store.folder / "checkpoint.bin"

    def run(self, histories: Iterable[History]) -> PersonalSummary:
        """Train everyone who must be trained; call it inside ``store.writing()``."""
        started = time.monotonic()
        waiting: list[Planned] = []
        unchanged: list[str] = []
        few: list[tuple[Record, None]] = []
        unusable = 0
        for history in histories:
            planned = self.planner.plan(history)
            if planned is None:
                unchanged.append(history.person)
                continue
            unusable += planned.unusable
            if planned.start is None and len(planned.front) < self.config.least_items:
                few.append((self._record(planned, "too few items"), None))
            else:
                waiting.append(planned)
        if few:
            self.store.add(few)
        done: list[tuple[Record, Trained]] = []
        self.listener(Progress(stage="people", done=0, total=len(waiting), unit="people"))
        for at in range(0, len(waiting), self.shard):
            done += self._train_shard(waiting[at : at + self.shard])
            self.listener(
                Progress(stage="people", done=len(done), total=len(waiting), unit="people")
            )
        self.checkpoint.unlink(missing_ok=True)  # a kill right after the last shard leaves it
        self.store.compact()
        too_few = [record.person for record, _ in few]
        too_few += [p for p in unchanged if self._served(p) == "too few items"]
        gated = [record.person for record, _ in done if record.served == "gated"]
        gated += [p for p in unchanged if self._served(p) == "gated"]
        if unusable:
            self.listener(Note(text=f"{unusable} items left out: no answer, or too long"))
        return PersonalSummary(
            trained=tuple(record.person for record, _ in done),
            unchanged=tuple(unchanged),
            gated_off=tuple(sorted(gated)),
            too_few=tuple(sorted(too_few)),
            unusable_items=unusable,
            items=sum(record.items for record, _ in done),
            tokens=sum(trained.tokens for _, trained in done),
            seconds=time.monotonic() - started,
        )

    def _served(self, person: str) -> str:
        record = self.store.record(person)
        return record.served if record else ""

    def _train_shard(self, people: Sequence[Planned]) -> list[tuple[Record, Trained]]:
        """Train, gate and write one shard; its checkpoint goes when it is written."""
        jobs = [Job(person=p.person, examples=p.front, start=p.start) for p in people]
        trained = train_many(
            self.base,
            jobs,
            self.config.lora,
            self.config.train,
            self.engine,
            checkpoint=self.checkpoint,
            listener=self.listener,
        )
        verdicts = self._gate(people, trained)
        entries: list[tuple[Record, Trained]] = []
        for planned, result in zip(people, trained, strict=True):
            without, having = verdicts.get(planned.person, (None, None))
            helps = without is None or having is None or having <= without
            record = self._record(planned, "adapter" if helps else "gated", result, without, having)
            entries.append((record, result))
        kept = [
            (r, t.adapter if r.served == "adapter" or self.keep_all else None) for r, t in entries
        ]
        self.store.add(kept)
        self.checkpoint.unlink(missing_ok=True)
        return entries

    def _gate(
        self, people: Sequence[Planned], trained: Sequence[Trained]
    ) -> dict[str, tuple[float, float]]:
        """Mean loss on everyone's tail without and with the adapter."""
        tails = {p.person: p.tail for p in people if p.tail}
        if not tails:
            return {}
        adapters = {t.person: t.adapter for t in trained if t.person in tails}
        size = self.engine.forward_tokens
        without = mean_losses(self.base, tails, {}, forward_tokens=size)
        having = mean_losses(self.base, tails, adapters, forward_tokens=size)
        return {person: (without[person], having[person]) for person in tails}

    def _record(
        self,
        planned: Planned,
        served: Literal["adapter", "gated", "too few items"],
        trained: Trained | None = None,
        without: float | None = None,
        having: float | None = None,
    ) -> Record:
        return Record(
            person=planned.person,
            served=served,
            made_by=planned.made_by,
            items=planned.items,
            history=planned.history,
            steps=trained.steps if trained else 0,
            tokens=trained.tokens if trained else 0,
            first_loss=trained.first_loss if trained else 0.0,
            last_loss=trained.last_loss if trained else 0.0,
            gate_base=without,
            gate_adapter=having,
        )
