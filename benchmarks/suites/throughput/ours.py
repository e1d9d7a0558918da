"""Our engine, and the rows of its table: each row is one set of overrides.

To measure a new setting, add a row. Overrides name fields of ``EngineConfig``, ``TrainConfig`` and
``LoraConfig``; an unknown field is an error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from idiolect.adapters.arithmetic.mean import average_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.config import from_plain, to_plain
from idiolect.models.base import Base
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.holdout_gate import compute_mean_losses
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from suites.throughput.work import TrainingWork

C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One way to run our engine."""

    name: str
    what: str
    kind: Literal["exact", "measured"] = "exact"
    """Exact: the same mathematics as training each person alone. Measured: other mathematics."""
    tasks: tuple[str, ...] = ()
    """Runs only on these tasks or shapes; empty for all."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    lora: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    """The learning rate by task, if it differs from that of the other tasks."""
    people: int = 0
    """Trains only the first ``people`` people; 0 for all."""
    mean_start: bool = False
    """Each person starts from the mean of the others' adapters, whose training does not count."""
    tail: int = 0
    """The number of each person's last training items that are held out for early stopping."""


REAL_TASKS = ("rating", "reply", "lamp-5")
FEW_PEOPLE = 2
"""People for rows that show one technique: the same speed per person, in less time."""
HIGHER_RATE = {"rate": 1.6e-2}
"""With ten adapted layers, each layer must change more. Each method has the learning rate that was
best for it in two steps, on other people (docs/notes/engine.md)."""
ANSWERS_ONLY = {"active": "answer"}
COMPILED = {"compile": True}
TOP_HALF, TOP_THIRD = {**ANSWERS_ONLY, "top_layers": 15}, {**ANSWERS_ONLY, "top_layers": 10}

ENGINE_ROWS: tuple[EngineRow, ...] = (
    EngineRow(
        name="ours",
        what="`train_many` with its defaults (on GPUs rows packed without padding)",
    ),
    EngineRow(
        name="ours, one at a time",
        what="the same engine with one slot: shows the effect of training people together",
        tasks=("rating",),
        people=FEW_PEOPLE,
        engine={"slots": 1},
    ),
    EngineRow(
        name="ours, nothing shared",
        what="each row runs whole: shows the effect of running common prefixes once per step",
        tasks=("rating",),
        people=FEW_PEOPLE,
        engine={"share": False},
    ),
    EngineRow(
        name="ours, not packed",
        what="plain matrix products: shows the effect of prepacking the matrices",
        tasks=("rating",),
        people=FEW_PEOPLE,
        engine={"pack": False},
    ),
    EngineRow(
        name="ours, padded rows",
        what="rows padded to similar length, as on CPUs: shows the effect of packing without "
        "padding",
        tasks=("135m", "1b", "8b"),
        engine={"layout": "rows"},
    ),
    EngineRow(
        name="ours, without padding",
        what="the layout that is the default on GPUs, on any device",
        tasks=("tiny",),
        engine={"layout": "packed"},
    ),
    EngineRow(
        name="ours, compiled",
        what="`torch.compile` for everything between the matrix products; compiling (about 20 "
        "seconds per process) does not count",
        tasks=(*REAL_TASKS, "135m", "1b", "8b"),
        engine=COMPILED,
    ),
    EngineRow(
        name="answers only",
        what="adapters act on answers only: prompts run once for all epochs and people",
        kind="measured",
        tasks=("rating", "reply"),
        lora=ANSWERS_ONLY,
    ),
    EngineRow(
        name="answers only, nothing kept",
        what="the same with whole forward passes: shows the effect of caching prompts",
        kind="measured",
        tasks=("rating",),
        people=FEW_PEOPLE,
        lora=ANSWERS_ONLY,
        engine={"keep": False},
    ),
    EngineRow(
        name="top half",
        what="the last 15 of 30 layers adapted, on all tokens; their inputs are cached",
        kind="measured",
        tasks=("rating",),
        people=FEW_PEOPLE,
        lora={"top_layers": 15},
    ),
    EngineRow(
        name="answers, top third",
        what="answers only, the last 10 of 30 layers adapted",
        kind="measured",
        tasks=("rating",),
        lora=TOP_THIRD,
        train=HIGHER_RATE,
        rates={"rating": 3.2e-2},
    ),
    EngineRow(
        name="answers, top third, compiled",
        what="answers only, the last 10 of 30 layers adapted, compiled",
        kind="measured",
        tasks=REAL_TASKS,
        lora=TOP_THIRD,
        train=HIGHER_RATE,
        rates={"rating": 3.2e-2},
        engine=COMPILED,
    ),
    EngineRow(
        name="answers, top third, mean start",
        what="the same for one epoch, each person from the mean of the others' adapters (which "
        "exist already: their training does not count)",
        kind="measured",
        tasks=REAL_TASKS,
        lora=TOP_THIRD,
        train={**HIGHER_RATE, "epochs": 1},
        engine=COMPILED,
        mean_start=True,
    ),
    EngineRow(
        name="answers, top half, mean start",
        what="answers only, the last 15 of 30 layers adapted, compiled, two epochs from that mean",
        kind="measured",
        tasks=("lamp-5",),
        lora=TOP_HALF,
        engine=COMPILED,
        mean_start=True,
    ),
    EngineRow(
        name="answers, one A",
        what="answers only, and each person trains only B",
        kind="measured",
        tasks=("rating",),
        people=FEW_PEOPLE,
        lora={**ANSWERS_ONLY, "shared_a": True},
    ),
    EngineRow(
        name="answers, early stop",
        what="answers only, up to 4 epochs, stopped when the loss on the last 4 items rises",
        kind="measured",
        tasks=("rating",),
        people=FEW_PEOPLE,
        lora=ANSWERS_ONLY,
        train={"epochs": 4, "patience": 1},
        tail=4,
    ),
)


class EngineMethod:
    """A row of the table, on one base."""

    def __init__(self, base: Base, row: EngineRow, lora: LoraConfig, train: TrainConfig) -> None:
        self.base = base
        self.row = row
        self.engine = apply_overrides(EngineConfig(), row.engine)
        self.lora, self.train_config = (
            apply_overrides(lora, row.lora),
            apply_overrides(train, row.train),
        )
        self.trained_adapters: dict[str, LoraAdapter] = {}
        self.reference_adapters: dict[str, LoraAdapter] = {}

    def train_all(self, work: TrainingWork) -> float:
        """Train all people; return the seconds."""
        rate = self.row.rates.get(work.task, self.train_config.rate)
        config = replace(self.train_config, rate=rate)
        mean_start = self.row.mean_start
        jobs = self._start_from_mean(work.jobs, config) if mean_start else self._split_jobs(work)
        started = time.perf_counter()
        done = train_many(self.base, jobs, self.lora, config, self.engine)
        seconds = time.perf_counter() - started
        self.trained_adapters = {one.person: require_lora(one.adapter) for one in done}
        return seconds

    def _split_jobs(self, work: TrainingWork) -> tuple[TrainingJob, ...]:
        if not self.row.tail:
            return work.jobs
        at = -self.row.tail
        return tuple(
            replace(job, examples=job.examples[:at], holdout_examples=job.examples[at:])
            for job in work.jobs
        )

    def _start_from_mean(
        self, jobs: Sequence[TrainingJob], config: TrainConfig
    ) -> tuple[TrainingJob, ...]:
        """Return the jobs with the mean of the others' adapters as initial adapter.

        These adapters are trained here for two epochs, once.
        """
        if len(jobs) < 2:
            return tuple(jobs)
        if not self.reference_adapters:
            config = replace(config, epochs=2)
            done = train_many(self.base, jobs, self.lora, config, self.engine)
            self.reference_adapters = {one.person: require_lora(one.adapter) for one in done}
        return tuple(
            replace(
                job,
                initial_adapter=average_adapters(
                    [a for p, a in self.reference_adapters.items() if p != job.person]
                ),
            )
            for job in jobs
        )

    def compute_losses(self, work: TrainingWork) -> dict[str, float]:
        """Return each person's mean loss per held-out target token in nats, after ``train_all``."""
        return compute_mean_losses(
            self.base,
            work.held_out,
            self.trained_adapters,
            forward_tokens=self.engine.scoring_tokens,
        )


def apply_overrides(config: C, overrides: Mapping[str, Any]) -> C:
    """Return the config with some fields replaced; raises UsageError for an unknown field."""
    return from_plain(type(config), {**to_plain(config), **overrides}, where=type(config).__name__)
