"""Our engine, and the rows of its table: each is one set of switches.

To measure a new switch, add a row. Overrides name fields of ``EngineConfig``, ``TrainConfig`` and
``LoraConfig``; an unknown one is an error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from idiolect.adapters import LoraAdapter, LoraConfig
from idiolect.config import from_plain, to_plain
from idiolect.models import Base
from idiolect.training import EngineConfig, Job, TrainConfig, train_many
from idiolect.training.gate import mean_losses
from throughput.work import Work

C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to run our engine."""

    name: str
    what: str
    kind: Literal["exact", "measured"] = "exact"
    """Exact: the same mathematics as training each person alone. Measured: other mathematics."""
    tasks: tuple[str, ...] = ()
    """Only on these tasks or shapes; empty for all."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    lora: Mapping[str, Any] = field(default_factory=dict)
    tail: int = 0
    """So many of each person's last training items are held out to tell when to stop."""


REAL = ("rating", "reply", "lamp-5")
FASTER, FASTEST = {"rate": 4e-3}, {"rate": 8e-3}
"""Fewer tokens or layers carry an adapter, so each has to move further."""

ROWS: tuple[Row, ...] = (
    Row(name="ours", what="`train_many` with its defaults"),
    Row(
        name="ours, one at a time",
        what="the same engine with one slot: what seating people together brings",
        tasks=("rating",),
        engine={"slots": 1},
    ),
    Row(
        name="ours, large batches",
        what="the same engine with all people seated and 32,768 tokens in one forward",
        tasks=("135m", "1b", "8b"),
        engine={"slots": 32, "forward_tokens": 32768},
    ),
    Row(
        name="answers only",
        what="adapters act from the call for an answer on, at twice the rate: prompts run once, "
        "for all epochs and people",
        kind="measured",
        tasks=REAL,
        lora={"active": "answer"},
        train=FASTER,
    ),
    Row(
        name="answers only, nothing kept",
        what="the same through whole forwards: what keeping brings",
        kind="measured",
        tasks=("rating",),
        lora={"active": "answer"},
        train=FASTER,
        engine={"keep": False},
    ),
    Row(
        name="top half",
        what="the last 15 of 30 layers adapted, at twice the rate; what enters them is kept",
        kind="measured",
        tasks=REAL,
        lora={"top_layers": 15},
        train=FASTER,
    ),
    Row(
        name="answers, top half",
        what="both, at four times the rate",
        kind="measured",
        tasks=REAL,
        lora={"active": "answer", "top_layers": 15},
        train=FASTEST,
    ),
    Row(
        name="answers, one A",
        what="answers only, and everyone trains B alone, at four times the rate",
        kind="measured",
        tasks=("rating",),
        lora={"active": "answer", "shared_a": True},
        train=FASTEST,
    ),
    Row(
        name="answers, early stop",
        what="answers only, up to 4 epochs, stopped where the last 4 items get worse",
        kind="measured",
        tasks=("rating",),
        lora={"active": "answer"},
        train={**FASTER, "epochs": 4, "patience": 1},
        tail=4,
    ),
)


class Ours:
    """A row on one base."""

    def __init__(self, base: Base, row: Row, lora: LoraConfig, train: TrainConfig) -> None:
        self.base = base
        self.row = row
        self.engine = changed(EngineConfig(), row.engine)
        self.lora, self.config = changed(lora, row.lora), changed(train, row.train)
        self.trained: dict[str, LoraAdapter] = {}

    def train(self, work: Work) -> float:
        """Train everyone; gives the seconds it took."""
        started = time.perf_counter()
        done = train_many(self.base, self._jobs(work), self.lora, self.config, self.engine)
        seconds = time.perf_counter() - started
        self.trained = {one.person: one.adapter for one in done}
        return seconds

    def _jobs(self, work: Work) -> tuple[Job, ...]:
        if not self.row.tail:
            return work.jobs
        at = -self.row.tail
        return tuple(
            replace(job, examples=job.examples[:at], tail=job.examples[at:]) for job in work.jobs
        )

    def losses(self, work: Work) -> dict[str, float]:
        """Everyone's mean loss per held-out target token, in nats, after ``train``."""
        return mean_losses(
            self.base,
            work.held_out,
            self.trained,
            forward_tokens=self.engine.forward_tokens,
        )


def changed(config: C, overrides: Mapping[str, Any]) -> C:
    """The config with some fields replaced. Raises UsageError for a field it does not have."""
    return from_plain(type(config), {**to_plain(config), **overrides}, where=type(config).__name__)
