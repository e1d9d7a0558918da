"""Personalization: from histories to a store of adapters, in groups of people: train, gate, write.

Histories are streamed: only the examples and adapters of one group are in memory. A run that was
killed, or is run again, trains only the people who need it, and its result is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import length_hint
from pathlib import Path
from typing import Literal

from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.events import Listener, Message, Progress, null_listener
from idiolect.history.history import History
from idiolect.privacy.ledger import Ledger
from idiolect.training.engine.train_many import train_many
from idiolect.training.holdout_gate import compute_mean_losses
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.private.budget import (
    TRAINED,
    describe_for_ledger,
    make_record_guarantee,
    read_spent_budgets,
)
from idiolect.training.private.config import PrivateConfig
from idiolect.training.private.train_private import train_private
from idiolect.training.runs.plan import PersonPlan, Planner, RunContext
from idiolect.training.runs.summary import PersonalSummary, RunCounter


class Personalizer:
    """Trains people of one task into one store.

    A person who does not continue from their own adapter starts from ``context.starts``, or from a
    new adapter. ``known`` are other stores, read only, for people that ``store`` does not have. The
    ledger gets an event for each trained person before their group is written: a kill in between
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
        listener: Listener = null_listener,
    ) -> None:
        self.context, self.config, self.store = context, context.config, store
        self.people_per_shard, self.keep_all = shard, keep_all
        self.ledger, self.listener = ledger, listener
        self.planner = Planner(context, (store, *known))

    @property
    def checkpoint_path(self) -> Path:
        """The checkpoint of the group in training."""
        return self.store.folder / "checkpoint.bin"

    def run(self, histories: Iterable[History], *, people: int | None = None) -> PersonalSummary:
        """Train all people who need it; call it inside ``store.lock_for_writing()``.

        ``people`` is the number of histories, for the progress, if the iterable does not know its
        length.
        """
        # ``waiting`` are people to train, ``few`` are records of people with too few items.
        tally = RunCounter()
        total = length_hint(histories) if people is None else people
        waiting: list[PersonPlan] = []
        few: list[AdapterRecord] = []
        self._report_progress(tally, total)
        # Plan each person; train whenever a full group of people waits.
        for history in histories:
            planned = self.planner.plan_person(history)
            if planned is None:
                tally.unchanged.append(history.person)
                tally.record(self.planner.find_record(history.person))
                continue
            if self.planner.is_forgotten(history):
                tally.refuse(history.person, tally.forgotten)
                continue
            if self.planner.is_older(planned):
                tally.refuse(history.person, tally.older)
                continue
            tally.unusable_items += planned.unusable_items
            if (
                planned.previous_adapter is None
                and len(planned.train_examples) < self.config.least_train_items
            ):
                few.append(self._make_record(planned, "too few items"))
            else:
                waiting.append(planned)
            if len(waiting) == self.people_per_shard:
                self._train_shard(waiting, few, tally)
                self._report_progress(tally, total)
                waiting, few = [], []
        self._train_shard(waiting, few, tally)
        self._report_progress(tally, total)
        self.checkpoint_path.unlink(missing_ok=True)  # a kill right after the last shard leaves it
        self.store.compact()
        if tally.unusable_items:
            self.listener(
                Message(text=f"items left out (no answer, or too long): {tally.unusable_items:,}")
            )
        return tally.build_summary()

    def _report_progress(self, tally: RunCounter, total: int) -> None:
        """Report how many people are done."""
        total = max(total, tally.people_done)
        self.listener(Progress(stage="people", done=tally.people_done, total=total, unit="people"))

    def _train_shard(
        self, people: Sequence[PersonPlan], few: Sequence[AdapterRecord], tally: RunCounter
    ) -> None:
        """Train, gate and write one group: ``people``, and ``few``, records without training.

        The checkpoint of the group is removed after the write.
        """
        if not people and not few:
            return
        entries: list[tuple[AdapterRecord, Adapter | None]] = [(record, None) for record in few]
        if people:
            jobs = [self._make_job(planned) for planned in people]
            trained = (
                self._train_privately(jobs, self.config.private)
                if self.config.private
                else train_many(
                    self.context.base,
                    jobs,
                    self.config.lora,
                    self.config.train,
                    self.context.engine,
                    checkpoint=self.checkpoint_path,
                    listener=self.listener,
                )
            )
            # The gate decides per person whether the adapter is kept.
            verdicts = self._evaluate_gate(people, trained)
            budgets = read_spent_budgets(self.ledger if self.config.private else None)
            for planned, result in zip(people, trained, strict=True):
                record, adapter = self._build_entry(planned, result, verdicts.get(planned.person))
                if self.config.private:
                    records, spent = len(planned.train_examples), budgets.get(planned.person)
                    privacy = make_record_guarantee(self.config.private, records, spent)
                    record = replace(record, privacy=privacy)
                entries.append((record, adapter))
                tally.trained.append(planned.person)
                tally.items += planned.items
                tally.tokens += result.tokens
            # The ledger comes first: a kill before the store is written leaves an event too many.
            if self.ledger is not None:
                names = [planned.person for planned in people]
                details = describe_for_ledger(self.config.private)
                base = self.context.base.identity
                self.ledger.record_event(TRAINED, names, {"base": base, **details})
        self.store.add(entries)
        for record, _ in entries:
            tally.record(record)
        self.checkpoint_path.unlink(missing_ok=True)

    def _train_privately(
        self, jobs: Sequence[TrainingJob], private: PrivateConfig
    ) -> Sequence[TrainingResult[Adapter]]:
        """Train along the basis, without a checkpoint: a killed run has released nothing."""
        basis = self.context.basis
        # The gate's decision would reveal something about the held-out records.
        assert basis is not None and not self.config.gate.on
        return train_private(
            self.context.base, jobs, basis, private, self.context.engine, listener=self.listener
        )

    def _build_entry(
        self,
        planned: PersonPlan,
        trained: TrainingResult[Adapter],
        losses: tuple[float, float] | None,
    ) -> tuple[AdapterRecord, Adapter | None]:
        """Return a trained person's record, and the adapter if it is kept.

        ``losses`` are the holdout losses (without the adapter, with it); ``None`` without holdout
        items.
        """
        without, having = losses or (None, None)
        # Without a holdout there is nothing to compare, so the adapter is kept.
        helps = without is None or having is None or having <= without
        record = self._make_record(
            planned, "adapter" if helps else "gated", trained, without, having
        )
        kept = helps or self.keep_all
        record = replace(record, sharers=planned.sharers if kept else ())
        return record, trained.adapter if kept else None

    def _make_job(self, planned: PersonPlan) -> TrainingJob:
        """Build the engine's job of a planned person."""
        tail = planned.holdout_examples if self.config.train.patience else ()
        # A person's own adapter comes before the shared initial adapters.
        start, starts = planned.previous_adapter, self.context.starts
        if start is None and starts is not None:
            start = starts.get_adapter(planned.person)
        return TrainingJob(
            person=planned.person,
            examples=planned.train_examples,
            initial_adapter=start,
            holdout_examples=tail,
        )

    def _evaluate_gate(
        self, people: Sequence[PersonPlan], trained: Sequence[TrainingResult[Adapter]]
    ) -> dict[str, tuple[float, float]]:
        """Return each person's mean holdout loss in nats per token: (without adapter, with it)."""
        tails = {p.person: p.holdout_examples for p in people if p.holdout_examples}
        if not tails:
            return {}
        adapters = {t.person: t.adapter for t in trained if t.person in tails}
        # Both losses from forwards of the same size, so that they round alike.
        size = self.context.engine.scoring_tokens
        without = compute_mean_losses(self.context.base, tails, {}, forward_tokens=size)
        having = compute_mean_losses(self.context.base, tails, adapters, forward_tokens=size)
        return {person: (without[person], having[person]) for person in tails}

    def _make_record(
        self,
        planned: PersonPlan,
        served: Literal["adapter", "gated", "too few items"],
        trained: TrainingResult[Adapter] | None = None,
        without: float | None = None,
        having: float | None = None,
    ) -> AdapterRecord:
        """Build the store's record of a person."""
        return AdapterRecord(
            person=planned.person,
            served=served,
            made_by=planned.made_by,
            items=planned.items,
            history=planned.history_fingerprint,
            total=planned.total,
            until=planned.until,
            steps=trained.steps if trained else 0,
            tokens=trained.tokens if trained else 0,
            first_loss=trained.first_loss if trained else 0.0,
            last_loss=trained.last_loss if trained else 0.0,
            gate_base=without,
            gate_adapter=having,
            quantization=self.context.base.quantization,
        )
