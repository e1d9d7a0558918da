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
from idiolect.events import Listener, Measured, Progress, silent
from idiolect.models.base import Base
from idiolect.models.compiled_ops import compiled
from idiolect.models.cpu.malloc import steady_heap
from idiolect.models.cpu.prepacked_linear import packed
from idiolect.prompts.render import Example
from idiolect.training.engine.checkpoint import Checkpoint, SeatState, jobs_fingerprint
from idiolect.training.engine.config import EngineConfig, frozen_for, packs, seats_for, tokens_for
from idiolect.training.engine.gradients import Gradients
from idiolect.training.engine.optimizer import StackedAdamW
from idiolect.training.engine.padded_layout import Row
from idiolect.training.engine.trainable import ADAPTERS, Kind, V
from idiolect.training.jobs import Job, Trained
from idiolect.training.schedule import TrainConfig, batches, items_of, rate_at


def train_many(
    base: Base,
    jobs: Sequence[Job],
    adapter_config: AdapterConfig,
    config: TrainConfig,
    engine: EngineConfig | None = None,
    *,
    kind: Kind[V] = ADAPTERS,
    checkpoint: Path | None = None,
    listener: Listener = silent,
    stage: str = "train",
) -> tuple[Trained[V], ...]:
    """Train what ``kind`` says (adapters, or gates on them) for each person.

    Takes one job for each person, and returns the results in the order of the jobs.

    With ``checkpoint``, training resumes from that file if it is of the same work (then its own
    slots and tokens of a forward are used, so that the result is the same to the bit), and the
    caller removes it at the end. Raises TrainingError if a loss is not finite; the checkpoint then
    still holds the last good state.
    """
    engine = engine or EngineConfig()
    if not kind.packs:
        engine = replace(engine, layout="rows")
    model = base.model
    with (
        packed(model) if engine.pack else nullcontext(),
        compiled(model) if engine.compile else nullcontext(),
        steady_heap(),
    ):
        run = _Run(base, jobs, kind, adapter_config, config, engine, checkpoint, listener, stage)
        run.start()
        while run.has_work():
            run.train_step()
            run.advance()
        run.save()
        return run.results()


@dataclass(slots=True)
class _Seat:
    """A person in a slot."""

    job: int
    plan: tuple[tuple[int, ...], ...]
    step: int = 0
    tokens: int = 0
    first_loss: float = 0.0
    last_loss: float = 0.0
    best: float | None = None
    worse: int = 0


class _Run(Generic[V]):
    """One run of the engine: the stack, who sits where, who waits, who is done."""

    def __init__(
        self,
        base: Base,
        jobs: Sequence[Job],
        kind: Kind[V],
        adapter_config: AdapterConfig,
        config: TrainConfig,
        engine: EngineConfig,
        checkpoint: Path | None,
        listener: Listener,
        stage: str,
    ) -> None:
        assert all(job.examples for job in jobs)
        self.base, self.jobs, self.adapter_config, self.config = base, jobs, adapter_config, config
        self.path, self.listener, self.stage = checkpoint, listener, stage
        self.fingerprint = jobs_fingerprint(base.identity, jobs, adapter_config, config, kind.name)
        found = Checkpoint.load(checkpoint, self.fingerprint) if checkpoint else None
        tokens = found.forward_tokens if found else tokens_for(base, jobs, adapter_config, engine)
        self.engine = engine = replace(engine, forward_tokens=tokens)
        self.frozen = frozen_for(base, adapter_config, engine)
        slots = found.slots if found else 0
        slots = slots or seats_for(base, jobs, adapter_config, config, engine, self.frozen)
        self.stack = kind.stack(base, adapter_config, slots).train()
        self.optimizer = StackedAdamW(self.stack, config)
        self.gradients = Gradients(
            base,
            self.stack,
            adapter_config,
            forward_tokens=tokens,
            share=engine.share,
            frozen=self.frozen,
            packed=packs(base, adapter_config, engine),
        )
        self.best = torch.zeros_like(self.stack.weights) if config.patience else None
        self.seats: list[_Seat | None] = [None] * slots
        self.waiting = 0
        self.steps = 0
        self.rows: dict[int, Tensor] = {}
        self.done: dict[int, _Seat] = {}
        self.saved_at = 0.0
        if found:
            self._restore(found)
        self.total = sum(items_of(len(job.examples), config) for job in jobs)

    def start(self) -> None:
        """Give the first people their slots, and report where the run begins."""
        self.saved_at = time.monotonic()
        self._tell()
        self._seat_everyone()

    def has_work(self) -> bool:
        """Whether a slot still holds a person to train."""
        return any(self.seats)

    def advance(self) -> None:
        """Between two steps: refill the slots of people who are done; save a checkpoint if due."""
        self._release()
        self._seat_everyone()
        self._tell()
        if time.monotonic() - self.saved_at >= self.engine.checkpoint_seconds:
            self.save()
            self.saved_at = time.monotonic()

    def save(self) -> None:
        """Write the checkpoint, if this run has a file for it."""
        if self.path:
            self._checkpoint().save(self.path)

    def results(self) -> tuple[Trained[V], ...]:
        """What was trained, in the order of the jobs."""
        return tuple(self._result(number) for number in range(len(self.jobs)))

    def _seat_everyone(self) -> None:
        """Fill free slots from the queue: fresh weights and zero optimizer state."""
        for slot, seat in enumerate(self.seats):
            if seat is None and self.waiting < len(self.jobs):
                job = self.jobs[self.waiting]
                self._put(slot, job)
                self.optimizer.reset(slot)
                plan = batches(len(job.examples), self.config, job.person)
                self.seats[slot] = _Seat(self.waiting, plan)
                self.waiting += 1

    def _put(self, slot: int, job: Job) -> None:
        """A slot as it is when somebody takes it."""
        start = job.start or init_adapter(
            self.base, self.adapter_config, seed=self.config.seed, person=job.person
        )
        self.stack.put(slot, start)

    def train_step(self) -> None:
        """Take one optimizer step for each person in a slot.

        Raises TrainingError if a loss or the norm of a gradient is not finite.
        """
        started = time.monotonic()
        seated = [(slot, seat) for slot, seat in enumerate(self.seats) if seat]
        # The next batch of each person, all in one list of rows.
        rows: list[Row] = []
        for slot, seat in seated:
            for number in seat.plan[seat.step]:
                example = self.jobs[seat.job].examples[number]
                rows.append(Row(slot, example, self._dropout_seed(seat, number)))
                seat.tokens += len(example.ids)
        losses = self.gradients.add(rows).tolist()
        # Each slot has its own schedule, clipping and moments.
        for slot, seat in seated:
            norm = self.optimizer.step(slot, rate_at(seat.step, len(seat.plan), self.config))
            self._count_step(seat, losses[slot], norm)
        if self.best is not None:
            self._watch_tails(seated)
        self.steps += 1
        values = {
            "step": self.steps,
            "loss": sum(losses[slot] for slot, _ in seated) / len(seated),
            "people": len(seated),
            "tokens": sum(len(row.example.ids) for row in rows),
            "seconds": time.monotonic() - started,
        }
        self.listener(Measured(stage=self.stage, values=values))

    def _dropout_seed(self, seat: _Seat, number: int) -> int:
        if self.adapter_config.dropout == 0:
            return 0
        person = self.jobs[seat.job].person
        return derive_seed(self.config.seed, person, "dropout", seat.step, number)

    def _count_step(self, seat: _Seat, loss: float, norm: float) -> None:
        """Note a person's step; raises TrainingError if its loss or gradient is not finite."""
        if not (torch.isfinite(torch.tensor([loss, norm])).all()):
            person = self.jobs[seat.job].person
            raise TrainingError(
                f"person {person!r}: loss {loss}, gradient norm {norm} at step {seat.step}; "
                "try a lower train.rate or dtype float32"
            )
        if seat.step == 0:
            seat.first_loss = loss
        seat.last_loss = loss
        seat.step += 1

    def _watch_tails(self, seated: Sequence[tuple[int, _Seat]]) -> None:
        """Where an epoch is over: keep the best epoch's weights, and stop whom more only harms."""
        assert self.best is not None
        ended = [
            (slot, seat)
            for slot, seat in seated
            if self.jobs[seat.job].tail and seat.step % (len(seat.plan) // self.config.epochs) == 0
        ]
        rows = [Row(slot, e, 0) for slot, seat in ended for e in self.jobs[seat.job].tail]
        losses = self.gradients.losses(rows) if rows else torch.empty(0)
        for slot, seat in ended:
            loss = float(losses[slot])
            if seat.best is None or loss < seat.best:
                seat.best, seat.worse = loss, 0
                self.best[slot] = self.stack.weights[slot]
            else:
                seat.worse += 1

    def _over(self, seat: _Seat) -> bool:
        stopped = self.config.patience and seat.worse >= self.config.patience
        return bool(stopped) or seat.step == len(seat.plan)

    def _release(self) -> None:
        """Take the finished out of their slots."""
        for slot, seat in enumerate(self.seats):
            if seat and self._over(seat):
                source = self.stack.weights
                if self.best is not None and seat.best is not None:
                    source = self.best
                self.rows[seat.job] = source[slot].detach().cpu().clone()
                self.done[seat.job] = seat
                self.seats[slot] = None

    def _tell(self) -> None:
        done = sum(items_of(len(self.jobs[n].examples), self.config) for n in self.done)
        done += sum(sum(map(len, s.plan[: s.step])) for s in self.seats if s)
        self.listener(Progress(stage=self.stage, done=done, total=self.total, unit="items"))

    def _result(self, number: int) -> Trained[V]:
        seat = self.done[number]
        return Trained(
            person=self.jobs[number].person,
            adapter=self.stack.unpack(self.rows[number]),
            steps=seat.step,
            tokens=seat.tokens,
            first_loss=seat.first_loss,
            last_loss=seat.last_loss,
        )

    def _checkpoint(self) -> Checkpoint:
        """Everything that the next step depends on."""
        states = [
            SeatState(slot, s.job, s.step, s.tokens, s.first_loss, s.last_loss, s.best, s.worse)
            for slot, s in [*enumerate(self.seats), *((-1, s) for s in self.done.values())]
            if s
        ]
        return Checkpoint(
            fingerprint=self.fingerprint,
            slots=len(self.seats),
            forward_tokens=self.engine.forward_tokens,
            waiting=self.waiting,
            steps=self.steps,
            taken=tuple(self.optimizer.taken),
            seats=tuple(states),
            asked=self._asked(),
            tensors={
                "weights": self.stack.weights.detach().cpu(),
                "first": self.optimizer.first.cpu(),
                "second": self.optimizer.second.cpu(),
                **({} if self.best is None else {"best": self.best.cpu()}),
                **{f"done.{job}": row for job, row in self.rows.items()},
            },
        )

    def _examples(self) -> list[Example]:
        """Everybody's examples, by number."""
        return [e for job in self.jobs for e in (*job.examples, *job.tail)]

    def _asked(self) -> tuple[tuple[int, ...], ...]:
        if not self.frozen:
            return ()
        number = {example: n for n, example in enumerate(self._examples())}
        return tuple(tuple(number[e] for e in call) for call in self.frozen.asked)

    @torch.no_grad()
    def _restore(self, found: Checkpoint) -> None:
        if self.frozen:
            examples = self._examples()
            for call in found.asked:
                self.frozen.prepare([examples[n] for n in call])
        for s in found.seats:
            if s.slot >= 0:
                self._put(s.slot, self.jobs[s.job])  # also what is not trained
        self.stack.weights.copy_(found.tensors["weights"])
        self.optimizer.first.copy_(found.tensors["first"])
        self.optimizer.second.copy_(found.tensors["second"])
        if self.best is not None:
            self.best.copy_(found.tensors["best"])
        self.optimizer.taken = list(found.taken)
        self.waiting, self.steps = found.waiting, found.steps
        for s in found.seats:
            job = self.jobs[s.job]
            plan = batches(len(job.examples), self.config, job.person)
            seat = _Seat(s.job, plan, s.step, s.tokens, s.first_loss, s.last_loss, s.best, s.worse)
            if s.slot < 0:
                self.done[s.job], self.rows[s.job] = seat, found.tensors[f"done.{s.job}"]
            else:
                self.seats[s.slot] = seat
