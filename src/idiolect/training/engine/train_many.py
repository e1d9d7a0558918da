"""Train many people's adapters at once: the engine.

Every person gets the adapter that ``single.py`` would give them alone (design, invariant 1): each
step takes one batch of every seated person, runs them together through the frozen base, and lets
every person's own optimizer row, schedule and clipping act on their own gradients. A seat refills
when its person is done. Losses are token means per person, summed over people, so no gradient of
one person depends on another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor

from idiolect.adapters.kinds import init_adapter
from idiolect.adapters.protocol import AdapterConfig
from idiolect.config import derive_seed
from idiolect.errors import TrainingError
from idiolect.events import Listener, Metrics, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.compiled_ops import compile_elementwise
from idiolect.models.cpu.malloc import keep_freed_memory
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.prompts.render import Example
from idiolect.training.engine.checkpoint import Checkpoint, SavedSlotState, fingerprint_jobs
from idiolect.training.engine.config import (
    EngineConfig,
    choose_forward_tokens,
    choose_slots,
    make_activation_cache,
    uses_packing,
)
from idiolect.training.engine.gradients import StepRunner
from idiolect.training.engine.optimizer import StackedAdamW
from idiolect.training.engine.padded_layout import BatchRow
from idiolect.training.engine.trainable import ADAPTERS, AdapterKind, V
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.schedule import TrainConfig, compute_learning_rate, count_items, plan_batches


def train_many(
    base: Base,
    jobs: Sequence[TrainingJob],
    adapter_config: AdapterConfig,
    config: TrainConfig,
    engine: EngineConfig | None = None,
    *,
    kind: AdapterKind[V] = ADAPTERS,
    checkpoint: Path | None = None,
    listener: Listener = null_listener,
    stage: str = "train",
) -> tuple[TrainingResult[V], ...]:
    """Train what ``kind`` says (adapters, or gates on them) for each person.

    Takes one job for each person, and returns the results in the order of the jobs.

    With ``checkpoint``, training resumes from that file if it is of the same work (then its own
    slots and tokens of a forward are used, so that the result is the same to the bit), and the
    caller removes it at the end. Raises TrainingError if a loss is not finite; the checkpoint then
    still holds the last good state.
    """
    engine = engine or EngineConfig()
    if not kind.supports_packing:
        engine = replace(engine, layout="rows")
    model = base.model
    with (
        prepack_linear(model) if engine.pack else nullcontext(),
        compile_elementwise(model) if engine.compile else nullcontext(),
        keep_freed_memory(),
    ):
        run = Engine(base, jobs, kind, adapter_config, config, engine, checkpoint, listener, stage)
        run.start_run()
        while run.has_work():
            run.train_step()
            run.advance_slots()
        run.save_checkpoint()
        return run.collect_results()


@dataclass(slots=True)
class SlotState:
    """A person in a slot."""

    job_index: int
    batch_plan: tuple[tuple[int, ...], ...]
    step: int = 0
    tokens: int = 0
    first_loss: float = 0.0
    last_loss: float = 0.0
    best_loss: float | None = None
    epochs_without_improvement: int = 0


class Engine(Generic[V]):
    """One run of the engine: the stack, who sits where, who waits, who is done."""

    def __init__(
        self,
        base: Base,
        jobs: Sequence[TrainingJob],
        kind: AdapterKind[V],
        adapter_config: AdapterConfig,
        config: TrainConfig,
        engine: EngineConfig,
        checkpoint: Path | None,
        listener: Listener,
        stage: str,
    ) -> None:
        assert all(job.examples for job in jobs)
        self.base, self.jobs, self.adapter_config, self.config = base, jobs, adapter_config, config
        self.checkpoint_path, self.listener, self.stage = checkpoint, listener, stage
        self.fingerprint = fingerprint_jobs(base.identity, jobs, adapter_config, config, kind.name)
        found = Checkpoint.load(checkpoint, self.fingerprint) if checkpoint else None
        tokens = (
            found.forward_tokens
            if found
            else choose_forward_tokens(base, jobs, adapter_config, engine)
        )
        self.engine = engine = replace(engine, forward_tokens=tokens)
        self.activation_cache = make_activation_cache(base, adapter_config, engine)
        slots = found.slots if found else 0
        slots = slots or choose_slots(
            base, jobs, adapter_config, config, engine, self.activation_cache
        )
        self.stack = kind.make_stack(base, adapter_config, slots).train()
        self.optimizer = StackedAdamW(self.stack, config)
        self.step_runner = StepRunner(
            base,
            self.stack,
            adapter_config,
            forward_tokens=tokens,
            share=engine.share,
            frozen=self.activation_cache,
            packed=uses_packing(base, adapter_config, engine),
        )
        self.best_weights = torch.zeros_like(self.stack.weights) if config.patience else None
        self.slots: list[SlotState | None] = [None] * slots
        self.next_job = 0
        self.steps = 0
        self.result_rows: dict[int, Tensor] = {}
        self.finished: dict[int, SlotState] = {}
        self.saved_at = 0.0
        if found:
            self._restore_checkpoint(found)
        self.total_items = sum(count_items(len(job.examples), config) for job in jobs)

    def start_run(self) -> None:
        """Give the first people their slots, and report where the run begins."""
        self.saved_at = time.monotonic()
        self._report_progress()
        self._fill_slots()

    def has_work(self) -> bool:
        """Whether a slot still holds a person to train."""
        return any(self.slots)

    def advance_slots(self) -> None:
        """Between two steps: refill the slots of people who are done; save a checkpoint if due."""
        self._free_finished_slots()
        self._fill_slots()
        self._report_progress()
        if time.monotonic() - self.saved_at >= self.engine.checkpoint_seconds:
            self.save_checkpoint()
            self.saved_at = time.monotonic()

    def save_checkpoint(self) -> None:
        """Write the checkpoint, if this run has a file for it."""
        if self.checkpoint_path:
            self._build_checkpoint().save(self.checkpoint_path)

    def collect_results(self) -> tuple[TrainingResult[V], ...]:
        """What was trained, in the order of the jobs."""
        return tuple(self._build_result(number) for number in range(len(self.jobs)))

    def _fill_slots(self) -> None:
        """Fill free slots from the queue: fresh weights and zero optimizer state."""
        for slot, seat in enumerate(self.slots):
            if seat is None and self.next_job < len(self.jobs):
                job = self.jobs[self.next_job]
                self._load_slot(slot, job)
                self.optimizer.reset_slot(slot)
                plan = plan_batches(len(job.examples), self.config, job.person)
                self.slots[slot] = SlotState(self.next_job, plan)
                self.next_job += 1

    def _load_slot(self, slot: int, job: TrainingJob) -> None:
        """A slot as it is when somebody takes it."""
        start = job.initial_adapter or init_adapter(
            self.base, self.adapter_config, seed=self.config.seed, person=job.person
        )
        self.stack.load_slot(slot, start)

    def train_step(self) -> None:
        """Take one optimizer step for each person in a slot.

        Raises TrainingError if a loss or the norm of a gradient is not finite.
        """
        started = time.monotonic()
        seated = [(slot, seat) for slot, seat in enumerate(self.slots) if seat]
        # The next batch of each person, all in one list of rows.
        rows: list[BatchRow] = []
        for slot, seat in seated:
            for number in seat.batch_plan[seat.step]:
                example = self.jobs[seat.job_index].examples[number]
                rows.append(BatchRow(slot, example, self._derive_dropout_seed(seat, number)))
                seat.tokens += len(example.ids)
        losses = self.step_runner.forward_backward(rows).tolist()
        # Each slot has its own schedule, clipping and moments.
        for slot, seat in seated:
            norm = self.optimizer.step_slot(
                slot, compute_learning_rate(seat.step, len(seat.batch_plan), self.config)
            )
            self._count_step(seat, losses[slot], norm)
        if self.best_weights is not None:
            self._evaluate_holdouts(seated)
        self.steps += 1
        values = {
            "step": self.steps,
            "loss": sum(losses[slot] for slot, _ in seated) / len(seated),
            "people": len(seated),
            "tokens": sum(len(row.example.ids) for row in rows),
            "seconds": time.monotonic() - started,
        }
        self.listener(Metrics(stage=self.stage, values=values))

    def _derive_dropout_seed(self, seat: SlotState, number: int) -> int:
        if self.adapter_config.dropout == 0:
            return 0
        person = self.jobs[seat.job_index].person
        return derive_seed(self.config.seed, person, "dropout", seat.step, number)

    def _count_step(self, seat: SlotState, loss: float, norm: float) -> None:
        """Note a person's step; raises TrainingError if its loss or gradient is not finite."""
        if not (torch.isfinite(torch.tensor([loss, norm])).all()):
            person = self.jobs[seat.job_index].person
            raise TrainingError(
                f"person {person!r}: loss {loss}, gradient norm {norm} at step {seat.step}; "
                "try a lower train.rate or dtype float32"
            )
        if seat.step == 0:
            seat.first_loss = loss
        seat.last_loss = loss
        seat.step += 1

    def _evaluate_holdouts(self, seated: Sequence[tuple[int, SlotState]]) -> None:
        """Where an epoch is over: keep the best epoch's weights, and stop whom more only harms."""
        assert self.best_weights is not None
        ended = [
            (slot, seat)
            for slot, seat in seated
            if self.jobs[seat.job_index].holdout_examples
            and seat.step % (len(seat.batch_plan) // self.config.epochs) == 0
        ]
        rows = [
            BatchRow(slot, e, 0)
            for slot, seat in ended
            for e in self.jobs[seat.job_index].holdout_examples
        ]
        losses = self.step_runner.forward(rows) if rows else torch.empty(0)
        for slot, seat in ended:
            loss = float(losses[slot])
            if seat.best_loss is None or loss < seat.best_loss:
                seat.best_loss, seat.epochs_without_improvement = loss, 0
                self.best_weights[slot] = self.stack.weights[slot]
            else:
                seat.epochs_without_improvement += 1

    def _is_finished(self, seat: SlotState) -> bool:
        stopped = self.config.patience and seat.epochs_without_improvement >= self.config.patience
        return bool(stopped) or seat.step == len(seat.batch_plan)

    def _free_finished_slots(self) -> None:
        """Take the finished out of their slots."""
        for slot, seat in enumerate(self.slots):
            if seat and self._is_finished(seat):
                source = self.stack.weights
                if self.best_weights is not None and seat.best_loss is not None:
                    source = self.best_weights
                self.result_rows[seat.job_index] = source[slot].detach().cpu().clone()
                self.finished[seat.job_index] = seat
                self.slots[slot] = None

    def _report_progress(self) -> None:
        done = sum(count_items(len(self.jobs[n].examples), self.config) for n in self.finished)
        done += sum(sum(map(len, s.batch_plan[: s.step])) for s in self.slots if s)
        self.listener(Progress(stage=self.stage, done=done, total=self.total_items, unit="items"))

    def _build_result(self, number: int) -> TrainingResult[V]:
        seat = self.finished[number]
        return TrainingResult(
            person=self.jobs[number].person,
            adapter=self.stack.from_row(self.result_rows[number]),
            steps=seat.step,
            tokens=seat.tokens,
            first_loss=seat.first_loss,
            last_loss=seat.last_loss,
        )

    def _build_checkpoint(self) -> Checkpoint:
        """Everything that the next step depends on."""
        states = [
            SavedSlotState(
                slot,
                s.job_index,
                s.step,
                s.tokens,
                s.first_loss,
                s.last_loss,
                s.best_loss,
                s.epochs_without_improvement,
            )
            for slot, s in [*enumerate(self.slots), *((-1, s) for s in self.finished.values())]
            if s
        ]
        return Checkpoint(
            fingerprint=self.fingerprint,
            slots=len(self.slots),
            forward_tokens=self.engine.forward_tokens,
            next_job=self.next_job,
            steps=self.steps,
            step_counts=tuple(self.optimizer.step_counts),
            slot_states=tuple(states),
            request_log=self._build_request_log(),
            tensors={
                "weights": self.stack.weights.detach().cpu(),
                "first": self.optimizer.exp_avg.cpu(),
                "second": self.optimizer.exp_avg_sq.cpu(),
                **({} if self.best_weights is None else {"best": self.best_weights.cpu()}),
                **{f"done.{job}": row for job, row in self.result_rows.items()},
            },
        )

    def _list_examples(self) -> list[Example]:
        """Everybody's examples, by number."""
        return [e for job in self.jobs for e in (*job.examples, *job.holdout_examples)]

    def _build_request_log(self) -> tuple[tuple[int, ...], ...]:
        if not self.activation_cache:
            return ()
        number = {example: n for n, example in enumerate(self._list_examples())}
        return tuple(tuple(number[e] for e in call) for call in self.activation_cache.request_log)

    @torch.no_grad()
    def _restore_checkpoint(self, found: Checkpoint) -> None:
        if self.activation_cache:
            examples = self._list_examples()
            for call in found.request_log:
                self.activation_cache.ensure_cached([examples[n] for n in call])
        for s in found.slot_states:
            if s.slot >= 0:
                self._load_slot(s.slot, self.jobs[s.job])  # also what is not trained
        self.stack.weights.copy_(found.tensors["weights"])
        self.optimizer.exp_avg.copy_(found.tensors["first"])
        self.optimizer.exp_avg_sq.copy_(found.tensors["second"])
        if self.best_weights is not None:
            self.best_weights.copy_(found.tensors["best"])
        self.optimizer.step_counts = list(found.step_counts)
        self.next_job, self.steps = found.next_job, found.steps
        for s in found.slot_states:
            job = self.jobs[s.job]
            plan = plan_batches(len(job.examples), self.config, job.person)
            seat = SlotState(
                s.job, plan, s.step, s.tokens, s.first_loss, s.last_loss, s.best, s.worse
            )
            if s.slot < 0:
                self.finished[s.job], self.result_rows[s.job] = seat, found.tensors[f"done.{s.job}"]
            else:
                self.slots[s.slot] = seat
