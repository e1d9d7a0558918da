"""From histories to a store of adapters: trained shard by shard, gated, written.

Histories stream by: the examples and adapters of one shard are in memory, of everyone else a name.
Idempotent: a run that was killed, or is run again, trains only whom it must, and ends the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import length_hint
from pathlib import Path
from typing import Literal

from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.events import Listener, Note, Progress, silent
from idiolect.history.history import History
from idiolect.privacy.ledger import Ledger
from idiolect.training.engine.train_many import train_many
from idiolect.training.holdout_gate import mean_losses
from idiolect.training.jobs import Job, Trained
from idiolect.training.runs.plan import Planned, Planner, RunContext
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
        context: RunContext,
        store: AdapterStore,
        *,
        shard: int = 32,
        keep_all: bool = False,
        known: Sequence[AdapterStore] = (),
        ledger: Ledger | None = None,
        listener: Listener = silent,
    ) -> None:
        self.context, self.config, self.store = context, context.config, store
        self.shard, self.keep_all = shard, keep_all
        self.ledger, self.listener = ledger, listener
        self.planner = Planner(context, (store, *known))

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
                self._train_shard(waiting, few, tally)
                self._tell(tally, total)
                waiting, few = [], []
        self._train_shard(waiting, few, tally)
        self._tell(tally, total)
        self.checkpoint.unlink(missing_ok=True)  # a kill right after the last shard leaves it
        self.store.compact()
        if tally.unusable:
            self.listener(Note(text=f"{tally.unusable} items left out: no answer, or too long"))
        return tally.summary()

    def _tell(self, tally: Tally, total: int) -> None:
        total = max(total, tally.done)
        self.listener(Progress(stage="people", done=tally.done, total=total, unit="people"))

    def _train_shard(self, people: Sequence[Planned], few: Sequence[Record], tally: Tally) -> None:
        """Train, gate and write one shard: ``people``, and records of who has too ``few`` items.

        The checkpoint of the shard is removed when it is written.
        """
        if not people and not few:
            return
        entries: list[tuple[Record, Adapter | None]] = [(record, None) for record in few]
        if people:
            trained = train_many(
                self.context.base,
                [self._job(planned) for planned in people],
                self.config.lora,
                self.config.train,
                self.context.engine,
                checkpoint=self.checkpoint,
                listener=self.listener,
            )
            verdicts = self._gate(people, trained)
            for planned, result in zip(people, trained, strict=True):
                entries.append(self._entry(planned, result, verdicts.get(planned.person)))
                tally.trained.append(planned.person)
                tally.items += planned.items
                tally.tokens += result.tokens
            # The ledger comes first: a kill before the store is written leaves an event too many.
            if self.ledger is not None:
                names = [planned.person for planned in people]
                self.ledger.record("trained", names, {"base": self.context.base.identity})
        self.store.add(entries)
        for record, _ in entries:
            tally.passed(record)
        self.checkpoint.unlink(missing_ok=True)

    def _entry(
        self,
        planned: Planned,
        trained: Trained[Adapter],
        losses: tuple[float, float] | None,
    ) -> tuple[Record, Adapter | None]:
        """A trained person's record, and the adapter if it is kept.

        ``losses`` are those of the gate, without and with the adapter.
        """
        without, having = losses or (None, None)
        helps = without is None or having is None or having <= without
        record = self._record(planned, "adapter" if helps else "gated", trained, without, having)
        kept = helps or self.keep_all
        record = replace(record, sharers=planned.sharers if kept else ())
        return record, trained.adapter if kept else None

    def _job(self, planned: Planned) -> Job:
        tail = planned.tail if self.config.train.patience else ()
        start, starts = planned.start, self.context.starts
        if start is None and starts is not None:
            start = starts.adapter(planned.person)
        return Job(person=planned.person, examples=planned.front, start=start, tail=tail)

    def _gate(
        self, people: Sequence[Planned], trained: Sequence[Trained[Adapter]]
    ) -> dict[str, tuple[float, float]]:
        """Mean loss on everyone's tail without and with the adapter."""
        tails = {p.person: p.tail for p in people if p.tail}
        if not tails:
            return {}
        adapters = {t.person: t.adapter for t in trained if t.person in tails}
        size = self.context.engine.scoring_tokens
        without = mean_losses(self.context.base, tails, {}, forward_tokens=size)
        having = mean_losses(self.context.base, tails, adapters, forward_tokens=size)
        return {person: (without[person], having[person]) for person in tails}

    def _record(
        self,
        planned: Planned,
        served: Literal["adapter", "gated", "too few items"],
        trained: Trained[Adapter] | None = None,
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
