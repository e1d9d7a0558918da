"""From histories to a store of adapters: trained shard by shard, gated, written.

Histories stream by: the examples and adapters of one shard are in memory, of everyone else a name.
Idempotent: a run that was killed, or is run again, trains only whom it must, and ends the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import length_hint
from pathlib import Path
from typing import Literal

from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.events import Listener, Note, Progress, silent
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.privacy.ledger import Ledger
from idiolect.profiles.profile import Profile
from idiolect.retrieval.dense import Encoder
from idiolect.tasks.task import Task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.holdout_gate import mean_losses
from idiolect.training.jobs import Job, Trained
from idiolect.training.runs.initial_adapters import Starts
from idiolect.training.runs.plan import Mode, PersonalConfig, Planned, Planner
from idiolect.training.runs.summary import PersonalSummary, Tally


class Personalizer:
    """Trains people of one task into one store.

    Who does not go on from an adapter of their own begins where ``starts`` says, or with a fresh
    one.
    ``known`` are other stores that are asked, and not written, where ``store`` does not know
    somebody. The ledger is told of everyone before their shard is written: a kill in between
    leaves two events of one training, never none.
    """

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
        starts: Starts | None = None,
        keep_all: bool = False,
        known: Sequence[AdapterStore] = (),
        ledger: Ledger | None = None,
        listener: Listener = silent,
    ) -> None:
        self.base, self.config, self.store, self.ledger = base, config, store, ledger
        self.engine, self.shard = engine or EngineConfig(), shard
        self.keep_all, self.listener = keep_all, listener
        stores = (store, *known)
        self.planner = Planner(
            base,
            task,
            config,
            stores,
            profiles=profiles,
            encoder=encoder,
            mode=mode,
            starts=starts,
        )

    @property
    def checkpoint(self) -> Path:
        """Where the shard at work is checkpointed."""
        return self.store.folder / "checkpoint.bin"

    def run(self, histories: Iterable[History], *, people: int | None = None) -> PersonalSummary:
        """Train everyone who must be trained; call it inside ``store.writing()``.

        ``people`` is how many histories will come, for the progress, where they cannot tell.
        """
        tally = Tally()
        total = length_hint(histories) if people is None else people
        waiting: list[Planned] = []
        few: list[Record] = []
        self._tell(tally, total)
        for history in histories:
            planned = self.planner.plan(history)
            if planned is None:
                tally.unchanged.append(history.person)
                tally.passed(self.planner.known(history.person))
                continue
            tally.unusable += planned.unusable
            if planned.start is None and len(planned.front) < self.config.least_items:
                few.append(self._record(planned, "too few items"))
            else:
                waiting.append(planned)
            if len(waiting) == self.shard:
                self._write(waiting, few, tally)
                self._tell(tally, total)
                waiting, few = [], []
        self._write(waiting, few, tally)
        self._tell(tally, total)
        self.checkpoint.unlink(missing_ok=True)  # a kill right after the last shard leaves it
        self.store.compact()
        if tally.unusable:
            self.listener(Note(text=f"{tally.unusable} items left out: no answer, or too long"))
        return tally.summary()

    def _tell(self, tally: Tally, total: int) -> None:
        total = max(total, tally.done)
        self.listener(Progress(stage="people", done=tally.done, total=total, unit="people"))

    def _write(self, people: Sequence[Planned], few: Sequence[Record], tally: Tally) -> None:
        """Train, gate and write one shard; its checkpoint goes when it is written."""
        if not people and not few:
            return
        entries = self._train(people, tally) if people else []
        if self.ledger is not None and people:
            names = [planned.person for planned in people]
            self.ledger.record("trained", names, {"base": self.base.identity})
        self.store.add([*((record, None) for record in few), *entries])
        for record in (*few, *(record for record, _ in entries)):
            tally.passed(record)
        self.checkpoint.unlink(missing_ok=True)

    def _job(self, planned: Planned) -> Job:
        tail = planned.tail if self.config.train.patience else ()
        start, starts = planned.start, self.planner.starts
        if start is None and starts is not None:
            start = starts.adapter(planned.person)
        return Job(person=planned.person, examples=planned.front, start=start, tail=tail)

    def _train(
        self, people: Sequence[Planned], tally: Tally
    ) -> list[tuple[Record, LoraAdapter | None]]:
        """Everyone's record, and their adapter where it is kept."""
        trained = train_many(
            self.base,
            [self._job(planned) for planned in people],
            self.config.lora,
            self.config.train,
            self.engine,
            checkpoint=self.checkpoint,
            listener=self.listener,
        )
        verdicts = self._gate(people, trained)
        entries: list[tuple[Record, LoraAdapter | None]] = []
        for planned, result in zip(people, trained, strict=True):
            without, having = verdicts.get(planned.person, (None, None))
            helps = without is None or having is None or having <= without
            record = self._record(planned, "adapter" if helps else "gated", result, without, having)
            kept = helps or self.keep_all
            record = replace(record, sharers=planned.sharers if kept else ())
            entries.append((record, result.adapter if kept else None))
            tally.trained.append(planned.person)
            tally.items += record.items
            tally.tokens += result.tokens
        return entries

    def _gate(
        self, people: Sequence[Planned], trained: Sequence[Trained[LoraAdapter]]
    ) -> dict[str, tuple[float, float]]:
        """Mean loss on everyone's tail without and with the adapter."""
        tails = {p.person: p.tail for p in people if p.tail}
        if not tails:
            return {}
        adapters = {t.person: t.adapter for t in trained if t.person in tails}
        size = self.engine.scoring_tokens
        without = mean_losses(self.base, tails, {}, forward_tokens=size)
        having = mean_losses(self.base, tails, adapters, forward_tokens=size)
        return {person: (without[person], having[person]) for person in tails}

    def _record(
        self,
        planned: Planned,
        served: Literal["adapter", "gated", "too few items"],
        trained: Trained[LoraAdapter] | None = None,
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
