"""What is measured: from a command line to people, methods and settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.training.schedule import TrainConfig
from suites.throughput.bases import SHAPES, load_shape_or_base
from suites.throughput.contenders import PEER_A, Contender, list_contenders
from suites.throughput.work import TrainingWork, load_real_work, make_random_work

PEOPLE = {"rating": 12, "reply": 3, "lamp-5": 2}
PEER_PEOPLE = {"rating": 2, "reply": 1, "lamp-5": 1}
"""Of these, whom peers train: one after another, so more would take longer and tell no more."""
ITEMS, BATCH = 16, 16
RATE = 8e-3
"""In two steps the best of 2e-3 to 3.2e-2 for exact training on all three tasks."""
SHAPE_PEOPLE, SHAPE_ITEMS, SHAPE_BATCH, SHAPE_TOKENS = 32, 32, 8, 100
"""With random weights: 8 items of 100 tokens a step and person, 4 steps an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how often."""

    base: Base
    name: str
    bases: Mapping[str, str]
    """A base of its own for some tasks: the one adapted to them, on which people are trained."""
    device: str
    works: tuple[TrainingWork, ...]
    methods: tuple[Contender, ...]
    train: TrainConfig
    repeats: int
    peer_people: Mapping[str, int]
    """By task: peers train only so many; all where it is not named."""
    quick: bool = False
    """Matrix products take less time; for tests."""


def build_plan(options: argparse.Namespace) -> Plan:
    """The plan of a command line. Raises UsageError for what does not go together."""
    name = options.shape or ("135m" if options.device == "cuda" else "default")
    base = load_shape_or_base(name, options.device)
    if name in SHAPES:
        works = (
            make_random_work(
                name,
                people=options.people or SHAPE_PEOPLE,
                items=options.items or SHAPE_ITEMS,
                tokens=SHAPE_TOKENS,
                words=base.model.config.vocab_size,
            ),
        )
        methods = tuple(m for m in list_contenders(None) if m.name != PEER_A and m.runs_on(name))
        batch = SHAPE_BATCH
    else:
        asked = options.only or [t for t in PEOPLE if t != "lamp-5" or options.scholarly]
        works = tuple(
            load_real_work(
                base,
                task,
                people=options.people or PEOPLE[task],
                items=options.items or ITEMS,
                scholarly=options.scholarly,
            )
            for task in asked
        )
        methods = tuple(
            m for m in list_contenders(options.mlora) if any(m.runs_on(task) for task in asked)
        )
        batch = BATCH
    if options.method:
        methods = tuple(m for m in methods if m.name in options.method)
        if len(methods) < len(set(options.method)):
            known = ", ".join(m.name for m in list_contenders(options.mlora))
            raise UsageError(f"--method: {options.method} are not all among: {known}")
    return Plan(
        base=base,
        name=name,
        bases=_parse_bases(options.base or ()),
        device=options.device,
        works=works,
        methods=methods,
        train=TrainConfig(batch=batch, rate=RATE),
        repeats=options.repeats,
        peer_people={
            w.task: PEER_PEOPLE[w.task] for w in works if not (options.people or name in SHAPES)
        },
        quick=name == "tiny",
    )


def _parse_bases(named: Sequence[str]) -> dict[str, str]:
    """TASK=FOLDER by task. Raises UsageError for another form."""
    out: dict[str, str] = {}
    for one in named:
        task, separator, folder = one.partition("=")
        if not separator or task not in PEOPLE or not folder:
            raise UsageError(f"--base {one}: expected TASK=FOLDER, TASK one of {', '.join(PEOPLE)}")
        out[task] = folder
    return out
