"""The training engine: trains the adapters of many people at once.

Each person gets the adapter that ``training/reference.py`` would give them alone
(docs/invariants.md, invariant 1). Read that file first; then read ``train_many`` and ``Engine``
here, top down.

How it works. The engine has ``U`` slots; a person occupies one slot from their first step to their
last. All slots share the frozen base. In each step:

1. Each person in a slot contributes the next batch of their own plan; all batches become one list
   of rows (``train_step``).
2. The rows run through the base together, each with its own slot's adapter (``gradients.py``; the
   layouts pad or pack the rows). A person's loss is the mean over their own target tokens. The
   losses are summed over people, so no gradient of one person depends on another.
3. Each slot has its own learning rate, gradient clipping and AdamW moments (``optimizer.py``).
4. People whose plan is complete leave their slot, and waiting people move in (``advance_slots``).

Between steps the engine can save its whole state (``checkpoint.py``). A killed run resumes from it,
and its result is bit-identical on a CPU.

Shapes: ``U`` slots, ``P`` parameters of one person's adapter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor

from idiolect.adapters.kinds import init_adapter
from idiolect.adapters.protocol import AdapterConfig
from idiolect.errors import IntegrityError, TrainingError
from idiolect.events import Listener, Metrics, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.compiled_ops import compile_elementwise
from idiolect.models.cpu.malloc import keep_freed_memory
from idiolect.models.cpu.prepacked_linear import prepack_base
from idiolect.prompts.render import Example
from idiolect.training.engine.checkpoint import Checkpoint, SlotState, fingerprint_jobs
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.dropout import derive_dropout_seed
from idiolect.training.engine.gradients import StepRunner
from idiolect.training.engine.memory_plan import (
    choose_forward_tokens,
    choose_slots,
    make_activation_cache,
    require_trainable,
    uses_packing,
)
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
    """Train one adapter for each job (or another value that ``kind`` names, such as gates).

    One job is one person. The results come in the order of the jobs.

    If ``checkpoint`` names a file of the same work, training resumes from it, with the number of
    slots and of tokens per forward stored there. The engine writes this file while it trains, and
    the caller removes it at the end. Raises UsageError if the base cannot be trained with these
    settings, TrainingError if a loss is not finite; the checkpoint then still holds the last good
    state.
    """
    engine = engine or EngineConfig()
    # What is trained may not support the packed layout; then rows are padded.
    if not kind.supports_packing:
        engine = replace(engine, layout="rows")
    require_trainable(base, adapter_config, engine)
    # These context managers speed up the base (prepacked matrices, compiled elementwise
    # operations). They restore it when the run ends.
    with (
        prepack_base(base) if engine.pack else nullcontext(),
        compile_elementwise(base.model) if engine.compile else nullcontext(),
        keep_freed_memory(),
    ):
        run = Engine(base, jobs, kind, adapter_config, config, engine, checkpoint, listener, stage)
        run.start_run()
        while run.has_work():
            run.train_step()
            run.advance_slots()
        run.save_checkpoint()
        return run.collect_results()


class Engine(Generic[V]):
    """One run of the engine: the stack of adapters, the optimizer, and who is in which slot."""

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
        # The settings. A job without examples cannot be trained; the caller leaves it out.
        assert all(job.examples for job in jobs)
        adapter_config = adapter_config.resolve_for(base.model)
        self.base, self.jobs, self.adapter_config, self.config = base, jobs, adapter_config, config
        self.checkpoint_path, self.listener, self.stage = checkpoint, listener, stage
        self.fingerprint = fingerprint_jobs(base.identity, jobs, adapter_config, config, kind.name)
        # Sizes of the work: tokens per forward and number of slots. They change rounding, so a
        # resumed run takes them from its checkpoint instead of from the memory that is free now.
        saved = Checkpoint.load(checkpoint, self.fingerprint) if checkpoint else None
        tokens = (
            saved.forward_tokens
            if saved
            else choose_forward_tokens(base, jobs, adapter_config, engine)
        )
        self.engine = engine = replace(engine, forward_tokens=tokens)
        self.activation_cache = make_activation_cache(base, adapter_config, engine, jobs)
        slots = saved.slots if saved else 0
        slots = slots or choose_slots(
            base, jobs, adapter_config, config, engine, self.activation_cache
        )
        # The state: weights and gradients [U, P] in the stack, moments [U, P] in the optimizer.
        self.stack = kind.make_stack(base, adapter_config, slots).train()
        self.optimizer = StackedAdamW(self.stack, config)
        self.step_runner = StepRunner(
            base,
            self.stack,
            adapter_config,
            forward_tokens=tokens,
            share=engine.share,
            cache=self.activation_cache,
            packed=uses_packing(base, adapter_config, engine),
        )
        self.best_weights = torch.zeros_like(self.stack.weights) if config.patience else None
        # The queue is the jobs from next_job on. Finished people keep a row [P] on the CPU.
        self.slots: list[SlotState | None] = [None] * slots
        self.next_job = 0
        self.steps = 0
        self.result_rows: dict[int, Tensor] = {}
        self.finished: dict[int, SlotState] = {}
        self.saved_at = 0.0
        if saved:
            self._restore_checkpoint(saved)
        self.total_items = sum(count_items(len(job.examples), config) for job in jobs)

    def start_run(self) -> None:
        """Put the first people into slots, and report the progress at the start."""
        self.saved_at = time.monotonic()
        self._report_progress()
        self._fill_slots()

    def has_work(self) -> bool:
        """Return whether any slot still holds a person to train."""
        return any(self.slots)

    def train_step(self) -> None:
        """Take one optimizer step for each person in a slot.

        Raises TrainingError if a loss or the norm of a gradient is not finite.
        """
        started = time.monotonic()
        occupied = [(slot, state) for slot, state in enumerate(self.slots) if state]
        # Stage 1: collect the next batch of each person in one list of rows.
        rows: list[BatchRow] = []
        for slot, state in occupied:
            job = self.jobs[state.job_index]
            for number in state.batch_plan[state.step]:
                example, seed = job.examples[number], 0
                if self.adapter_config.dropout:
                    seed = derive_dropout_seed(self.config.seed, job.person, state.step, number)
                rows.append(BatchRow(slot, example, seed))
                state.tokens += len(example.ids)
        # Stage 2: one forward and backward over all rows, split by the token budget. losses: [U].
        losses = self.step_runner.forward_backward(rows).tolist()
        # Stage 3: one optimizer step per slot, with its own learning rate, clipping and moments.
        for slot, state in occupied:
            norm = self.optimizer.step_slot(
                slot, compute_learning_rate(state.step, len(state.batch_plan), self.config)
            )
            self._count_step(state, losses[slot], norm)
        # Stage 4: early stopping, for people whose epoch ends with this step.
        if self.best_weights is not None:
            self._evaluate_holdouts(occupied)
        self.steps += 1
        # Stage 5: report the metrics of the step.
        values = {
            "step": self.steps,
            "loss": sum(losses[slot] for slot, _ in occupied) / len(occupied),
            "people": len(occupied),
            "tokens": sum(len(row.example.ids) for row in rows),
            "seconds": time.monotonic() - started,
        }
        self.listener(Metrics(stage=self.stage, values=values))

    def advance_slots(self) -> None:
        """Between two steps: free and refill finished slots; save a checkpoint if one is due."""
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
        """Return one result for each job, in the order of the jobs."""
        return tuple(self._build_result(number) for number in range(len(self.jobs)))

    def _fill_slots(self) -> None:
        """Put waiting people into free slots: initial weights, zero optimizer state."""
        for slot, state in enumerate(self.slots):
            if state is None and self.next_job < len(self.jobs):
                job = self.jobs[self.next_job]
                self._load_slot(slot, job)
                self.optimizer.reset_slot(slot)
                plan = plan_batches(len(job.examples), self.config, job.person)
                self.slots[slot] = SlotState(self.next_job, plan)
                self.next_job += 1

    def _load_slot(self, slot: int, job: TrainingJob) -> None:
        """Set a slot's weights to the person's initial adapter, or to a new one."""
        start = job.initial_adapter or init_adapter(
            self.base, self.adapter_config, seed=self.config.seed, person=job.person
        )
        try:
            self.stack.load_slot(slot, start)
        except IntegrityError as error:
            raise IntegrityError(f"person {job.person!r}: initial {error}") from error

    def _count_step(self, state: SlotState, loss: float, norm: float) -> None:
        """Record a person's step; raises TrainingError if loss or gradient norm is not finite."""
        if not (torch.isfinite(torch.tensor([loss, norm])).all()):
            person = self.jobs[state.job_index].person
            raise TrainingError(
                f"person {person!r}: loss {loss}, gradient norm {norm} at step {state.step}; "
                "try a lower train.rate or dtype float32"
            )
        if state.step == 0:
            state.first_loss = loss
        state.last_loss = loss
        state.step += 1

    def _evaluate_holdouts(self, occupied: Sequence[tuple[int, SlotState]]) -> None:
        """At the end of a person's epoch: measure the holdout loss, and keep the best weights.

        Takes (slot, state) pairs. People without holdout examples are skipped.
        """
        assert self.best_weights is not None
        # People whose epoch just ended. An epoch has the same number of steps each time.
        ended = [
            (slot, state)
            for slot, state in occupied
            if self.jobs[state.job_index].holdout_examples
            and state.step % (len(state.batch_plan) // self.config.epochs) == 0
        ]
        rows = [
            BatchRow(slot, e, 0)
            for slot, state in ended
            for e in self.jobs[state.job_index].holdout_examples
        ]
        # One forward over all their holdout examples, without gradients and dropout.
        losses = self.step_runner.forward(rows) if rows else torch.empty(0)
        for slot, state in ended:
            loss = float(losses[slot])
            if state.best_loss is None or loss < state.best_loss:
                state.best_loss, state.epochs_without_improvement = loss, 0
                self.best_weights[slot] = self.stack.weights[slot]
            else:
                state.epochs_without_improvement += 1

    def _is_finished(self, state: SlotState) -> bool:
        """Return whether the plan is complete, or ``patience`` epochs brought no lower loss."""
        stopped = self.config.patience and state.epochs_without_improvement >= self.config.patience
        return bool(stopped) or state.step == len(state.batch_plan)

    def _free_finished_slots(self) -> None:
        """Copy the weights of finished people out of the stack, and free their slots."""
        for slot, state in enumerate(self.slots):
            if state and self._is_finished(state):
                # With early stopping the result is the best epoch's row, not the last one.
                source = self.stack.weights
                if self.best_weights is not None and state.best_loss is not None:
                    source = self.best_weights
                self.result_rows[state.job_index] = source[slot].detach().cpu().clone()
                self.finished[state.job_index] = state
                self.slots[slot] = None

    def _report_progress(self) -> None:
        """Report how many items were trained on. A person who stopped early counts in full."""
        done = sum(count_items(len(self.jobs[n].examples), self.config) for n in self.finished)
        done += sum(sum(map(len, s.batch_plan[: s.step])) for s in self.slots if s)
        self.listener(Progress(stage=self.stage, done=done, total=self.total_items, unit="items"))

    def _build_result(self, number: int) -> TrainingResult[V]:
        """Build the result of a finished person from their saved row."""
        state = self.finished[number]
        return TrainingResult(
            person=self.jobs[number].person,
            adapter=self.stack.from_row(self.result_rows[number]),
            steps=state.step,
            tokens=state.tokens,
            first_loss=state.first_loss,
            last_loss=state.last_loss,
        )

    def _build_checkpoint(self) -> Checkpoint:
        """Collect everything that the next step depends on."""
        # Slot -1 marks people who are finished: their progress is needed for the results.
        states = [
            s.to_saved(slot)
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
        """Return all examples of all jobs; their position is the number in the request log."""
        return [e for job in self.jobs for e in (*job.examples, *job.holdout_examples)]

    def _build_request_log(self) -> tuple[tuple[int, ...], ...]:
        """Return the calls of the activation cache, as example numbers; empty without a cache."""
        if not self.activation_cache:
            return ()
        number = {example: n for n, example in enumerate(self._list_examples())}
        return tuple(tuple(number[e] for e in call) for call in self.activation_cache.request_log)

    @torch.no_grad()
    def _restore_checkpoint(self, saved: Checkpoint) -> None:
        """Set the engine to the state of a checkpoint of the same work."""
        # Fill the activation cache with the same calls in the same order, so that it has the same
        # bits.
        if self.activation_cache:
            examples = self._list_examples()
            for call in saved.request_log:
                self.activation_cache.ensure_cached([examples[n] for n in call])
        # load_slot also sets parts of the stack that are not trained and not in the checkpoint.
        for s in saved.slot_states:
            if s.slot >= 0:
                self._load_slot(s.slot, self.jobs[s.job])
        # Trained weights and the optimizer's moments.
        self.stack.weights.copy_(saved.tensors["weights"])
        self.optimizer.exp_avg.copy_(saved.tensors["first"])
        self.optimizer.exp_avg_sq.copy_(saved.tensors["second"])
        if self.best_weights is not None:
            self.best_weights.copy_(saved.tensors["best"])
        # Who is in which slot, and who is finished.
        self.optimizer.step_counts = list(saved.step_counts)
        self.next_job, self.steps = saved.next_job, saved.steps
        for s in saved.slot_states:
            job = self.jobs[s.job]
            plan = plan_batches(len(job.examples), self.config, job.person)
            state = SlotState.from_saved(s, plan)
            if s.slot < 0:
                self.finished[s.job], self.result_rows[s.job] = (
                    state,
                    saved.tensors[f"done.{s.job}"],
                )
            else:
                self.slots[s.slot] = state
